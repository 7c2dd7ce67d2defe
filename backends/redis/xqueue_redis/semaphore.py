"""The semaphore in Redis: one script for each call, which reads, decides and writes at once.

The rules are those of :mod:`xqueue_core.stored.gate` and its neighbours, in Lua: ``lua/permits``
and the libraries that its scripts name.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

import anyio
import msgspec

from xqueue_core.abc import Semaphore
from xqueue_core.errors import ConfigError, InvalidTask, Refused, Unavailable, Unknown
from xqueue_core.permits import Answer, Grant, Keep, KeyInfo, Permit, Renewed, Request
from xqueue_core.stored.leases import heartbeat
from xqueue_redis.connection import RUN_ID

if TYPE_CHECKING:
    from xqueue_core.stored.options import StoredOptions
    from xqueue_redis.connection import Link

logger = logging.getLogger("xqueue.redis")

#: Longest time in seconds between two looks of a blocked ``acquire``.
LOOK_EVERY = 0.5
#: Seconds after which a wish that is still under way to the server is not carried out any more.
TOO_LATE = 7.0
#: A limit above this is as good as this: numbers in Lua are exact up to here.
_MOST = 2**53
_NO_LIMIT = -1

_encode = msgspec.msgpack.Encoder().encode
T = TypeVar("T")


class _Asked(msgspec.Struct, array_like=True):
    """What ``permits/acquire`` returns."""

    now: float  # the server's time
    late: bool  # the call came too late, and did nothing
    answers: list[tuple[Grant, int, int, int, Keep]]  # the fields of an Answer
    mended: list[str]
    unknown: list[tuple[str, str]]


class _Renewed(msgspec.Struct, array_like=True):
    """What ``permits/renew`` returns."""

    permits: list[Keep]
    versions: list[int]
    unknown: list[tuple[str, str]]


class _Shown(msgspec.Struct, array_like=True):
    """What ``permits/inspect`` returns of one key."""

    limit: int
    pinned: bool
    version: int
    holders: list[tuple[str, str, float]]
    waiters: list[str]


class RedisSemaphore(Semaphore):
    """Limits for every process that shares the server and the namespace.

    Args:
        link: runs the scripts.
        options: the options of the whole backend.
    """

    def __init__(self, link: Link, options: StoredOptions) -> None:
        self._link = link
        self._options = options
        #: The server's time, less ours, as far as known: of which run of the server, and seconds.
        self._ahead: tuple[str, float] | None = None

    async def acquire(self, requests: Sequence[Request], wait: float) -> Sequence[Answer]:
        """Ask for permits; blocks only while some wait in line and none is granted.

        Raises InvalidTask for a limit below 1, else BrokerError.
        """
        for request in requests:
            if request.limit is not None and request.limit < 1:
                raise InvalidTask(f"key {request.key!r}: its limit is {request.limit}, below 1")
        if not requests:
            return []
        answers = await self._ask(requests)
        if wait <= 0 or not _blocked(answers):
            return answers
        try:
            return await self._await(requests, anyio.current_time() + wait)
        except (Unavailable, Refused) as error:
            raise Unknown(f"they had their places in line, then: {error}") from error

    async def _await(self, requests: Sequence[Request], end: float) -> list[Answer]:
        """Ask again whenever a permit was granted to one of the workers, and now and then."""
        pause = min([LOOK_EVERY, *(heartbeat(request.lease) for request in requests)])
        workers = dict.fromkeys(request.worker for request in requests)
        lists = [f"{self._link.prefix}permit:{worker}" for worker in workers]
        async with self._link.blocking() as connection:
            while True:
                # A grant since the last look has left a token, so it is not missed. 0 is for ever.
                left = max(0.001, min(pause, end - anyio.current_time()))
                await connection.command("BLPOP", *lists, f"{left:.3f}")
                answers = await self._ask(requests)
                if not _blocked(answers) or anyio.current_time() >= end:
                    return answers

    async def _ask(self, requests: Sequence[Request]) -> list[Answer]:
        wishes = _encode([_wish(request) for request in requests])
        while True:
            latest = await self._latest()
            reply = await self._link.run("permits/acquire", RUN_ID, f"{latest:.6f}", wishes)
            asked = _read(reply, _Asked)
            self._ahead = (self._link.run_id, asked.now - anyio.current_time())
            if not asked.late:  # else the server's clock was set forward, and nothing happened
                break
        for key in asked.mended:
            _tell_mended(key)
        _tell_unknown(asked.unknown)
        return [Answer(*answer) for answer in asked.answers]

    async def _latest(self) -> float:
        """The server's time after which a call that is sent now must not be carried out."""
        run = self._link.run_id
        if self._ahead is None or self._ahead[0] != run:
            seconds, micros = await self._link.command("TIME")
            self._ahead = (run, int(seconds) + int(micros) / 1e6 - anyio.current_time())
        return anyio.current_time() + self._ahead[1] + TOO_LATE

    async def renew(
        self,
        worker: str,
        permits: Sequence[Permit],
        watch: Sequence[str],
        lease: float,
        heartbeat: float = 0.0,
    ) -> Renewed:
        """Renew a worker's registration, and with it all its permits."""
        watched = list(dict.fromkeys(watch))
        times = repr(float(lease)), repr(float(heartbeat))
        reply = await self._link.run(
            *("permits/renew", RUN_ID, worker, *times),
            *(_permits(permits), _encode(watched)),
        )
        told = _read(reply, _Renewed)
        _tell_unknown(told.unknown)
        versions = zip(watched, told.versions, strict=True)
        return Renewed(told.permits, {key: version for key, version in versions if version >= 0})

    async def release(self, permits: Sequence[Permit]) -> None:
        """Give permits back, or leave the line."""
        if permits:
            await self._link.run("permits/release", RUN_ID, _permits(permits))

    async def set_limit(self, key: str, limit: int | None, *, pinned: bool = True) -> None:
        """Set the limit of a key, or remove it. Raises ConfigError for one below 1."""
        if limit is not None and limit < 1:
            raise ConfigError(f"the limit of {key!r} must be 1 or more (or None), not {limit}")
        damaged = await self._link.run("permits/limit", RUN_ID, key, _number(limit), int(pinned))
        if damaged:
            _tell_mended(key)

    async def inspect(self, keys: Sequence[str]) -> Sequence[KeyInfo]:
        """Limits, holders and waiters, for operators."""
        if not keys:
            return []
        reply = await self._link.run("permits/inspect", RUN_ID, _encode(list(keys)))
        shown = _read(reply, list[_Shown])
        return [_info(key, one) for key, one in zip(keys, shown, strict=True)]


def _blocked(answers: Sequence[Answer]) -> bool:
    """True if something waits and nothing was granted."""
    grants = {answer.grant for answer in answers}
    return Grant.WAITING in grants and not grants & {Grant.GRANTED, Grant.FREE}


def _number(limit: int | None) -> int:
    return _NO_LIMIT if limit is None else min(limit, _MOST)


def _wish(request: Request) -> tuple[object, ...]:
    """A request as scripts read it: ``gate.lua`` names the places."""
    return (
        *(request.id, request.key, request.worker, request.lease),
        *(request.queue, request.running, _number(request.limit), request.stamp),
    )


def _permits(permits: Sequence[Permit]) -> bytes:
    return _encode([(one.id, one.key, one.token, one.idle) for one in permits])


def _read(reply: bytes, kind: type[T]) -> T:
    return msgspec.msgpack.decode(reply, type=kind)


def _info(key: str, shown: _Shown) -> KeyInfo:
    return KeyInfo(
        key=key,
        limit=None if shown.limit == _NO_LIMIT else shown.limit,
        pinned=shown.pinned,
        version=shown.version,
        holders={id: worker for id, worker, _ in shown.holders},
        waiters=shown.waiters,
        expires_in={id: left for id, _, left in shown.holders},
    )


def _tell_mended(key: str) -> None:
    logger.error(
        "the permits of key %r cannot be decoded: none is given for a lease, and then one at a "
        "time until an operator sets its limit",
        key,
    )


def _tell_unknown(permits: Sequence[tuple[str, str]]) -> None:
    for id, key in permits:
        logger.warning("permit %s of %r: its worker does not know of it", id, key)
