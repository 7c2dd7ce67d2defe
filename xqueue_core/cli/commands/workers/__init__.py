"""``xqueue workers``."""

from xqueue_core.cli.lazy import Entry, Lazy

_HERE = "xqueue_core.cli.commands.workers"

COMMANDS = {
    "list": Entry(f"{_HERE}.list:list_workers", "List workers, by their last heartbeat."),
    "quiet": Entry(f"{_HERE}.quiet:quiet", "Let workers lease nothing more."),
    "stop": Entry(f"{_HERE}.stop:stop", "Let workers drain and end."),
}

workers = Lazy("workers", COMMANDS, "Look at workers; quiet and stop them.")
