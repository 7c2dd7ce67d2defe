"""``xqueue dead``."""

from xqueue_core.cli.lazy import Entry, Lazy

_HERE = "xqueue_core.cli.commands.dead"

COMMANDS = {
    "list": Entry(
        f"{_HERE}.list:list_dead", "List tasks that failed, took too long, or are damaged."
    ),
    "replay": Entry(f"{_HERE}.replay:replay_dead", "Run tasks that failed or took too long again."),
}

dead = Lazy("dead", COMMANDS, "Look at tasks that failed; replay them.")
