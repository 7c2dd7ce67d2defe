"""Clients that do something wrong when one reply gets lost, each with another call."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import msgspec

from unit.conformance.broken import Breaker
from unit.conformance.from_nothing import Instead, instead
from xqueue_core.abc import Notice
from xqueue_core.calls import Beat, BeatReply, Held, Hold, Lines
from xqueue_core.errors import Unavailable, Unknown
from xqueue_core.permits import Keep, Permit, Renewed, Request
from xqueue_core.views import Filter

_LOST = (Unavailable, Unknown)


async def _beats_with_nothing(real: Instead, beat: Beat, held: Sequence[Held]) -> BeatReply:
    """A heartbeat that failed is sent again without what the worker holds."""
    try:
        return await real(beat, held)  # type: ignore[no-any-return]
    except _LOST:
        await real(beat, [])
        return BeatReply([Hold.KEPT for _ in held])


async def _has_done_enough(real: Instead, budget: float) -> float:
    """A call of ``maintain`` that failed is not wanted again for an hour."""
    try:
        return await real(budget)  # type: ignore[no-any-return]
    except _LOST:
        return 3600.0


async def _shows_nothing(real: Instead, *args: Any) -> Lines:
    """Where lines cannot be read there are none."""
    try:
        return await real(*args)  # type: ignore[no-any-return]
    except _LOST:
        return Lines([])


async def _wishes_anew(real: Instead, requests: Sequence[Request], wait: float) -> Any:
    """Requests that failed are made again, as other wishes."""
    try:
        return await real(requests, wait)
    except _LOST:
        return await real([msgspec.structs.replace(r, id=f"{r.id}+") for r in requests], wait)


async def _gives_up(real: Instead, worker: str, permits: Sequence[Permit], *more: Any) -> Renewed:
    """What could not be renewed is lost."""
    try:
        return await real(worker, permits, *more)  # type: ignore[no-any-return]
    except _LOST:
        return Renewed([Keep.LOST for _ in permits], dict.fromkeys(more[0], 1))


async def _takes_as_done(real: Instead, *args: Any, **options: Any) -> None:
    """What failed is as good as done."""
    with suppress(*_LOST):
        await real(*args, **options)


async def _begins_anew(
    real: Instead, filter: Filter, after: str | None = None
) -> AsyncIterator[Notice]:
    """A subscription that failed goes on with what comes from now on."""
    try:
        async for notice in real(filter, after):
            yield notice
    except _LOST:
        async for notice in real(filter, None):
            yield notice


#: What is wrong when one reply gets lost, by the case that is about it.
LOSSY: Mapping[str, Breaker] = {
    "M127d": instead("queue", "extend", _beats_with_nothing),
    "M127f": instead("queue", "maintain", _has_done_enough),
    "M127g": instead("queue", "parked", _shows_nothing),
    "M127h": instead("semaphore", "acquire", _wishes_anew),
    "M127i": instead("semaphore", "renew", _gives_up),
    "M127j": instead("semaphore", "release", _takes_as_done),
    "M127k": instead("semaphore", "set_limit", _takes_as_done),
    "M127l": instead("notifier", "publish", _takes_as_done),
    "M127m": instead("notifier", "subscribe", _begins_anew),
}
