"""``xqueue lanes``."""

from xqueue_core.cli.lazy import Entry, Lazy

_HERE = "xqueue_core.cli.commands.lanes"

COMMANDS = {
    "list": Entry(f"{_HERE}.list:list_lanes", "List lanes: counts, pause, limit and its holders."),
    "pause": Entry(f"{_HERE}.pause:pause", "Start nothing more in lanes, until they are resumed."),
    "resume": Entry(f"{_HERE}.resume:resume", "Undo a pause."),
    "limit": Entry(f"{_HERE}.limit:limit", "Set how many tasks of a lane run at once."),
}

lanes = Lazy("lanes", COMMANDS, "Look at lanes; pause, resume and limit them.")
