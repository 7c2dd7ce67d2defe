"""The commands that would help a task which is not running, for each reason that has one."""

from __future__ import annotations

import shlex

from xqueue_core.task import State
from xqueue_core.why import (
    Busy,
    Ended,
    KeyLimit,
    LaneLimit,
    NoWorker,
    Overdue,
    Paused,
    Quarantined,
    Reason,
    Why,
)


def remedies(found: Why, app: str | None, named: bool, url: str | None) -> list[list[str]]:
    """For each reason the commands that would help, as they are typed; none for many of them.

    Args:
        found: what was found out.
        app: how the app was named, if it was; else it is called APP.
        named: True if an option named it, which the commands then repeat.
        url: the broker, if an option named it.
    """

    def typed(words: tuple[str, ...]) -> str:
        where = [] if url is None else ["--url", url]
        if app is not None and named and words[0] != "worker":
            where = ["--app", app, *where]
        return shlex.join(("xqueue", *words, *where))

    return [
        [typed(words) for words in _helps(one, found.id, app or "APP")] for one in found.reasons
    ]


def _helps(one: Reason, id: str, app: str) -> list[tuple[str, ...]]:
    match one:
        case Paused():
            return [("lanes", "resume", one.lane)]
        case LaneLimit():
            # What an operator has set stands above what workers declare, until it is removed.
            return [("lanes", "limit", one.lane, "none" if one.pinned else "N")]
        case KeyLimit():
            number = "none" if one.pinned else "N"
            return [("lanes", "limit", one.lane, number, "--key", one.key)]
        case NoWorker(cause="quiet"):
            return [("workers", "quiet", "--off", *one.workers), ("worker", app)]
        case NoWorker(cause="lane", type_served=True):
            return [("worker", app, "--lanes", one.lane)]
        case NoWorker() | Busy():
            return [("worker", app)]
        case Quarantined():
            return [("purge", id)]
        case Overdue(stuck=False):
            return [("task", "cancel", id)]
        case Ended(reason="purged"):
            return [("purge", id), ("task", "replay", id)]
        case Ended(state=state) if state is not State.SUCCESS:
            return [("task", "replay", id)]
    return []
