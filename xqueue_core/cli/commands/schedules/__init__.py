"""``xqueue schedules``."""

from xqueue_core.cli.lazy import Entry, Lazy

_HERE = "xqueue_core.cli.commands.schedules"

COMMANDS = {
    "list": Entry(f"{_HERE}.list:list_schedules", "List recurring schedules, and when they fire."),
    "trigger": Entry(f"{_HERE}.trigger:trigger", "Submit the task of a schedule now."),
}

schedules = Lazy("schedules", COMMANDS, "Look at recurring schedules; run one now.")
