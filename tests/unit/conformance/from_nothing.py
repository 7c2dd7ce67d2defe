"""Clients that answer one call without the broker, once it is out of reach.

Not after a single lost reply, which is what other cases are for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from time import time
from typing import Any, NamedTuple

from unit.conformance.broken import Breaker
from xqueue_core.abc import Faces
from xqueue_core.calls import Accepted, BeatReply, Did, Hold, Leased, Put, Settled, Verdict
from xqueue_core.errors import Unavailable, Unknown
from xqueue_core.permits import Answer, Grant, Keep, Renewed

#: What a call does instead: it is given the call as it was, and the arguments.
Instead = Callable[..., Any]


class _Face:
    """Another face, but for one call."""

    def __init__(self, inner: Any, name: str, call: Instead) -> None:
        self._inner = inner
        setattr(self, name, call)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def instead(face: str, name: str, other: Instead) -> Breaker:
    """Spoils one call of one face."""

    def spoil(faces: Faces) -> Faces:
        inner: Any = faces.needed(face)
        call = getattr(inner, name)

        def spoiled(*args: Any, **options: Any) -> Any:
            return other(call, *args, **options)

        changed: Any = {face: _Face(inner, name, spoiled)}
        return faces._replace(**changed)

    return spoil


class Planted(NamedTuple):
    """A client that answers a call from nothing, and the case about lost replies to that call."""

    spoil: Breaker
    beside: str


def _from_nothing(face: str, name: str, beside: str, answer: Callable[..., Any]) -> Planted:
    async def call(real: Instead, *args: Any, **options: Any) -> Any:
        for _ in range(2):
            with suppress(Unavailable, Unknown):
                return await real(*args, **options)
        return answer(*args)

    return Planted(instead(face, name, call), beside)


#: By the call that is answered from nothing.
FROM_NOTHING: Mapping[str, Planted] = {
    "put": _from_nothing(
        *("queue", "put", "M127a"), lambda tasks: [Accepted(Put.NEW) for _ in tasks]
    ),
    "settle": _from_nothing(
        *("queue", "settle", "M127c"), lambda settles: [Settled.APPLIED for _ in settles]
    ),
    "set_limit": _from_nothing("semaphore", "set_limit", "M127k", lambda *_: None),
    "lease": _from_nothing("queue", "lease", "M127b", lambda *_: Leased()),
    "extend": _from_nothing(
        *("queue", "extend", "M127d"),
        lambda _, held: BeatReply([Hold.KEPT for _ in held], now=time()),
    ),
    "control": _from_nothing(
        *("queue", "control", "M127e"),
        lambda commands: [Verdict(Did.APPLIED) for _ in commands],
    ),
    "acquire": _from_nothing(
        *("semaphore", "acquire", "M127h"),
        lambda requests, _: [Answer(Grant.WAITING, place=1) for _ in requests],
    ),
    "renew": _from_nothing(
        *("semaphore", "renew", "M127i"),
        lambda _, permits, watch, *__: Renewed([Keep.KEPT] * len(permits), dict.fromkeys(watch, 0)),
    ),
    "release": _from_nothing("semaphore", "release", "M127j", lambda _: None),
}
