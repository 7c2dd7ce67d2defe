"""``xqueue task``."""

from xqueue_core.cli.lazy import Entry, Lazy

_HERE = "xqueue_core.cli.commands.task"

COMMANDS = {
    "show": Entry(f"{_HERE}.show:show", "Show one task with its history."),
    "list": Entry(f"{_HERE}.list:list_tasks", "List tasks, a page at a time."),
    "why": Entry(f"{_HERE}.why:why", "Tell why a task is not running, and what to do."),
    "wait": Entry(f"{_HERE}.wait:wait", "Wait until a task has ended, and print its result."),
    "cancel": Entry(f"{_HERE}.cancel:cancel", "Cancel a task."),
    "replay": Entry(
        f"{_HERE}.replay:replay", "Run a task that has ended again, from its first attempt."
    ),
    "reschedule": Entry(
        f"{_HERE}.reschedule:reschedule",
        "Give a task that has not started another time, by --delay or --run-at.",
    ),
    "events": Entry(
        f"{_HERE}.events:events", "Follow what happens to a task, from now on until it ends."
    ),
}

task = Lazy("task", COMMANDS, "Look at tasks, wait for them, cancel, replay, reschedule.")
