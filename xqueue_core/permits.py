"""What the calls of :class:`~xqueue_core.abc.Semaphore` carry and answer."""

from __future__ import annotations

from enum import StrEnum

import msgspec


def lane_key(lane: str) -> str:
    """The semaphore's key for the limit of a lane."""
    return f"lane:{lane}"


def task_key(lane: str, key: str) -> str:
    """The semaphore's key for a task's key: its limit counts within its lane."""
    return f"key:{lane}:{key}"


class Request(msgspec.Struct, kw_only=True):
    """Asks for one permit of ``key``. ``id`` is new for each wish and makes asking idempotent.

    ``queue`` asks for a place in line if there is none free. ``running`` registers work that
    had begun before the worker saw the limit: granted above the limit, counted, drained.
    ``limit`` with ``stamp`` (the task's acceptance time) is the key's own limit; the latest
    stamp wins unless :meth:`Semaphore.set_limit` pinned one.
    """

    id: str
    key: str
    worker: str
    lease: float = 15.0
    queue: bool = True
    running: bool = False
    limit: int | None = None
    stamp: float = 0.0


class Grant(StrEnum):
    """Answer to one request."""

    GRANTED = "granted"
    WAITING = "waiting"  # in line
    DENIED = "denied"  # none free, and ``queue`` was False
    FREE = "free"  # the key has no limit: no permit is needed


class Keep(StrEnum):
    """What a worker learns about a permit it holds."""

    KEPT = "kept"
    YIELD = "yield"  # finish what runs under it, start nothing more, release it
    LOST = "lost"  # it expired or was released: it counts no more


class Answer(msgspec.Struct):
    """Answer to one request; ``token`` fences the permit, ``place`` is 1 for the next in line.

    ``version`` of a permit is that of the key's limit as it is now, as :meth:`Semaphore.renew`
    tells it; 0 without a limit. ``keep`` is YIELD if it was granted before, and now stands above
    a limit that was lowered: who has not begun under it gives it back.
    """

    grant: Grant
    token: int = 0
    place: int = 0
    version: int = 0
    keep: Keep = Keep.KEPT


class Permit(msgspec.Struct, frozen=True):
    """A permit that was granted, named by its request's id.

    ``idle`` is told to :meth:`Semaphore.renew` alone: for how many seconds nothing has run under
    it, since it was granted or since the last task under it ended. 0 while something runs.
    """

    id: str
    key: str
    token: int = 0
    idle: float = 0.0


class Renewed(msgspec.Struct):
    """Answer to ``renew``: a verdict for each permit, the limit's version of each watched key.

    Version 0 means that the key has no limit.
    """

    permits: list[Keep] = []
    versions: dict[str, int] = {}


class KeyInfo(msgspec.Struct, kw_only=True):
    """A limit and who holds or awaits it."""

    key: str
    limit: int | None = None
    pinned: bool = False  # set by an operator, above what workers declare
    version: int = 0  # as :meth:`Semaphore.renew` tells it
    holders: dict[str, str] = {}  # request id -> worker
    waiters: list[str] = []  # request ids, first come first
    #: Request id -> the most seconds from this answer until the permit expires if its worker,
    #: and no other, does not renew any more. Without those of whom it cannot be told.
    expires_in: dict[str, float] = {}
