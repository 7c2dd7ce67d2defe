"""What the state machine of :mod:`xqueue_core.transitions` is told, and what it says.

Commands that users give too (``Cancel``, ``Replay``, ``Reschedule``, ``Purge``) and ``Settle``
come from :mod:`xqueue_core.calls`; these are the ones that only a backend gives.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

import msgspec

from xqueue_core.calls import Cancel, Purge, Replay, Reschedule, Settle
from xqueue_core.task import Event, Record


class Said(StrEnum):
    """The state machine's verdict. ``Did`` and ``Settled`` share the words they have in common."""

    APPLIED = "applied"
    REQUESTED = "requested"  # cancel or purge of a running task
    REPEATED = "repeated"
    DUPLICATE = "duplicate"  # accept of an id that is there
    LOST = "lost"  # settle or loss of a delivery that is not current
    EARLY = "early"  # its time has not come
    EXPIRED = "expired"  # lease of a task that waited too long: it is now ``timeout``
    IDLE = "idle"  # nothing to do in this state
    FINAL = "final"
    LIVE = "live"
    RUNNING = "running"
    CHANGED = "changed"
    UNKNOWN = "unknown"  # there is no such task
    INVALID = "invalid"  # edit or delay that no put would pass
    UNSUPPORTED = "unsupported"  # edit of a task that a newer major version wrote
    MOVED = "moved"  # the task is moving, or has moved, to another broker


class Accept(msgspec.Struct):
    """A task arrives; ``parked`` if its key has a line, which it joins undelivered.

    ``nth`` is its place among those that arrive together.
    """

    raw: bytes
    parked: bool = False
    nth: int = 0


class Promote(msgspec.Struct):
    """A scheduled task's time may have come.

    ``stood`` is for how many seconds its lane has been paused since then.
    """

    parked: bool = False
    stood: float = 0.0


class Lease(msgspec.Struct):
    """A worker takes the task. The token will be above the last one and at least ``floor``."""

    worker: str
    call: int
    floor: int = 0


class Lose(msgspec.Struct):
    """The worker that holds delivery ``token`` was declared dead.

    ``waited`` if its last heartbeat said that the delivery had not started (``Held.waits``).
    """

    token: int
    waited: bool = False


class Leave(msgspec.Struct):
    """A parked task leaves its key's line."""


class Expire(msgspec.Struct):
    """The task may have waited longer than its ``queue_timeout``."""


class Expunge(msgspec.Struct):
    """The final task's record may have outlived its time."""


class MarkDuplicate(msgspec.Struct):
    """A log learned that the task is a duplicate of another."""

    of: str


Command = (
    Accept
    | Promote
    | Lease
    | Settle
    | Lose
    | Leave
    | Cancel
    | Replay
    | Reschedule
    | Purge
    | Expire
    | Expunge
    | MarkDuplicate
)


class Step(NamedTuple):
    """What a command did. ``record`` is the old object itself if nothing changed; None if it
    was expunged."""

    record: Record | None
    verdict: Said
    events: tuple[Event, ...] = ()
