"""The reasons that lie in limits and lines, as data."""

from __future__ import annotations

import msgspec

from xqueue_core.why.reasons import Reason
from xqueue_core.why.words import listed, many, span

#: Others before a task that are counted; more are "more than".
MOST = 1_000


class Holder(msgspec.Struct, frozen=True, kw_only=True):
    """How many permits a worker holds, and how long they last if it dies now (None: not told)."""

    worker: str
    permits: int
    expires_in: float | None = None


def held(holders: tuple[Holder, ...]) -> str:
    """Who holds how many, for a sentence."""
    return listed(f"{one.worker}: {one.permits}" for one in holders)


def freed(holders: tuple[Holder, ...]) -> str:
    """How long that lasts if they die, for a sentence."""
    told = [one.expires_in for one in holders if one.expires_in is not None]
    if not told or len(told) < len(holders):
        return ""
    return f"; should their workers die, they come free within {span(max(told))}"


class LaneLimit(Reason, frozen=True, kw_only=True, tag="lane_limit"):
    """As many of its lane run as may, or more: the limit was lowered and they drain.

    A worker keeps a permit for the next task of the lane while there is one, so some may be held
    by no task for a moment.
    """

    lane: str
    limit: int
    used: int
    pinned: bool = False
    holders: tuple[Holder, ...] = ()

    def _sentence(self) -> str:
        whose = "set by an operator" if self.pinned else "max_concurrency"
        return (
            f"The lane {self.lane!r} is at its limit of {self.limit} ({whose}): "
            f"{many(self.used, 'permit')} held ({held(self.holders)}){freed(self.holders)}; wait "
            "for one of those tasks to end, or raise the limit."
        )


class KeyLimit(Reason, frozen=True, kw_only=True, tag="key_limit"):
    """As many tasks of its key run as may, or it is parked in the key's line.

    Attributes:
        limit: None if nobody told one, or if it cannot be asked for.
        used: permits held; None if they cannot be asked for.
        parked: it stands in the line; else it joins it when a worker has leased it.
        place: its place in the line, 1 being the next; None if that is not known.
        waiting: how long the line is; None if that is not known.
    """

    lane: str
    key: str
    limit: int | None = None
    used: int | None = None
    pinned: bool = False
    holders: tuple[Holder, ...] = ()
    parked: bool = True
    place: int | None = None
    waiting: int | None = None

    @property
    def full(self) -> bool:
        """True if no permit of the key is free, as far as is known."""
        return self.limit is not None and self.used is not None and self.used >= self.limit

    def _sentence(self) -> str:
        line = f"it is {self._place()} in the line of the key {self.key!r}"
        if self.used is None:
            return f"Its key was saturated: {line}, and who holds the key cannot be told."
        if not self.full:
            return (
                f"Its key was saturated and has room now: {line}, and a living worker of the lane "
                f"{self.lane!r} lets the line go on within 2 s, so see that one runs."
            )
        head = (
            f"As many tasks of the key {self.key!r} run as may ({self.limit}): "
            f"{many(self.used, 'permit')} held ({held(self.holders)}){freed(self.holders)}"
        )
        if not self.parked:
            return f"{head}; it will wait in the key's line: wait, or raise the key's limit."
        return f"{head}; {line}: wait, or raise the key's limit."

    def _place(self) -> str:
        if self.place is not None and self.waiting is not None:
            return f"number {self.place} of {max(self.place, self.waiting)}"
        return f"one of {self.waiting}" if self.waiting else "parked"


class Behind(Reason, frozen=True, kw_only=True, tag="behind"):
    """Others of its lane come first: ``count`` in all, ``higher`` of them by their priority.

    ``exact`` is False if there may be more, for counting stopped somewhere, or the order is not
    told. ``waiting`` is how many of the lane may be leased, itself among them.
    """

    lane: str
    count: int
    higher: int = 0
    exact: bool = True
    waiting: int | None = None

    def _sentence(self) -> str:
        of = f" of the {self.waiting} that wait" if self.waiting and self.waiting > 1 else ""
        higher = f" ({self.higher} by their priority)" if self.higher else ""
        return (
            f"{self._number()}{of} in the lane {self.lane!r} come before it{higher}: add workers "
            "or slots if they are served too slowly, or give it a higher priority."
        )

    def _number(self) -> str:
        if self.exact:
            return many(self.count, "other")
        if not self.count:
            return "Others, nobody counted how many,"
        return (
            f"More than {MOST} others"
            if self.count > MOST
            else f"At least {many(self.count, 'other')}"
        )
