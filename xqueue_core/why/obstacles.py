"""The reasons that lie in lanes and workers, as data; that there is none, or none is known."""

from __future__ import annotations

from typing import Literal

from xqueue_core.why.reasons import Reason
from xqueue_core.why.words import listed, many, span

#: What may be impossible to tell.
What = Literal["task", "workers", "lane", "limits", "order"]


class Paused(Reason, frozen=True, kw_only=True, tag="lane_paused"):
    """Its lane is paused."""

    lane: str

    def _sentence(self) -> str:
        return f"The lane {self.lane!r} is paused, so nothing of it starts: resume it."


class NoWorker(Reason, frozen=True, kw_only=True, tag="no_worker"):
    """No living worker will take it.

    Attributes:
        cause: ``none``: no worker is registered. ``dead``: those that served its lane count as
            dead. ``quiet``: those that serve it were ordered to lease nothing more, or to stop.
            ``lane``: none serves its lane; ``type``: none that serves its lane has its type.
            ``testing``: within ``app.testing()``, while no call runs what was submitted.
        near: lanes (or types) of like names that living workers serve.
        workers: the workers that are meant.
        seen_ago: ``dead``: seconds since the last of them was heard of.
        type_served: ``lane``: living workers serve its type, though not its lane.
    """

    cause: Literal["none", "dead", "quiet", "lane", "type", "testing"]
    type: str
    lane: str
    near: tuple[str, ...] = ()
    workers: tuple[str, ...] = ()
    seen_ago: float | None = None
    type_served: bool = False
    where: str = ""

    def _sentence(self) -> str:
        where = f" on {self.where}" if self.where else ""
        near = f"; of like name they serve {listed(self.near)}" if self.near else ""
        if self.cause == "testing":
            return (
                "Within app.testing() nothing runs until you say so: call t.run_all(), t.run_one() "
                "or t.advance(...)."
            )
        if self.cause == "none":
            return (
                f"No worker is registered{where}: start one that declares {self.type!r}, with the "
                "same broker and namespace."
            )
        if self.cause == "dead":
            return (
                f"No living worker serves the lane {self.lane!r}{where}: the last one that did, "
                f"{listed(self.workers)}, was heard of {span(self.seen_ago or 0.0)} ago and "
                f"counts as dead{near}; start one."
            )
        if self.cause == "quiet":
            return (
                f"All living workers that serve it are quiet or stopping ({listed(self.workers)}), "
                "and so lease nothing more: undo the order if there was one, or start others."
            )
        if self.cause == "type":
            return (
                f"The living workers of the lane {self.lane!r} ({listed(self.workers)}) have no "
                f"handler for the type {self.type!r}{near}: start one that declares it."
            )
        lane = f"No living worker serves the lane {self.lane!r}{where}{near}"
        if self.type_served:
            return (
                f"{lane}, although its type {self.type!r} is served in another one: it was put "
                "when the type had this lane, so let a worker serve this one too (--lanes)."
            )
        return f"{lane}: start one that declares {self.type!r}."


class Busy(Reason, frozen=True, kw_only=True, tag="slots_busy"):
    """All slots of the living workers that serve it are in use."""

    slots: int
    running: int
    workers: tuple[str, ...] = ()

    def _sentence(self) -> str:
        n = len(self.workers)
        who = "the worker that serves it" if n == 1 else f"the {n} workers that serve it"
        return (
            f"All {many(self.slots, 'slot')} of {who} are in use ({listed(self.workers)}): wait, "
            "or start another worker, or give more concurrency."
        )


class CannotTell(Reason, frozen=True, kw_only=True, tag="cannot_tell"):
    """Something cannot be known: ``what``, and ``why``."""

    what: What
    why: str

    def _sentence(self) -> str:
        return f"{_UNTOLD[self.what]} cannot be told: {self.why}."


_UNTOLD = {
    "task": "Where the task is, and what it waits for,",
    "workers": "Which workers live, and what they serve,",
    "lane": "Whether its lane is paused, and how many wait in it,",
    "limits": "Whether a limit of its lane or key holds it back, and who is under it,",
    "order": "How many tasks of its lane come before it",
}


class Ready(Reason, frozen=True, kw_only=True, tag="ready"):
    """Nothing stands in its way, as far as a broker can know."""

    workers: tuple[str, ...]
    free: int | None = None

    def _sentence(self) -> str:
        free = "" if self.free is None else f", with {many(self.free, 'free slot')}"
        return (
            f"Nothing stands in its way: {many(len(self.workers), 'living worker')} would take it"
            f"{free}; ask again, and if it still waits look into their logs, for the broker does "
            "not know what a worker itself lacks (threads, children)."
        )
