"""The view of the Redis backend. Reading changes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from xqueue_core.abc import TaskView
from xqueue_core.calls import Beat
from xqueue_core.infos import enter_counts, lane_stats, may_expire
from xqueue_core.recurring.standing import Standing
from xqueue_core.stored.options import StoredOptions
from xqueue_core.transitions import expires_at
from xqueue_core.views import Filter, Schedule, Stats, TaskInfo, Tasks, TypeStats, WorkerInfo
from xqueue_redis.listing import page
from xqueue_redis.reading import DAMAGED, Found, read_tasks, text

if TYPE_CHECKING:
    from xqueue_redis.connection import Link


class _Lane(msgspec.Struct, array_like=True):
    """A lane's pause flag, and how long it had been paused before ``since``."""

    paused: bool = False
    total: float = 0.0
    since: float = 0.0

    def paused_for(self, at: float) -> float:
        """Seconds for which the lane has been paused in all."""
        return self.total + (max(0.0, at - self.since) if self.paused else 0.0)


class _Worker(msgspec.Struct, array_like=True):
    """The beginning of what scripts keep of a worker."""

    seen: float
    lease: float
    heartbeat: float
    number: int
    host: str
    pid: int
    started_at: float
    dead: bool


class _Orders(msgspec.Struct, array_like=True):
    """What an operator ordered a worker to do."""

    quiet: bool = False
    stop: bool = False


_decode_lane = msgspec.msgpack.Decoder(_Lane)
_decode_worker = msgspec.msgpack.Decoder(_Worker)
_decode_orders = msgspec.msgpack.Decoder(_Orders)
_decode_beat = msgspec.msgpack.Decoder(Beat)
_decode_standing = msgspec.msgpack.Decoder(Standing)

T = TypeVar("T")


class RedisView(TaskView):
    """What is in Redis, for readers.

    Args:
        link: the connections.
        options: the options of the whole backend.
    """

    def __init__(self, link: Link, options: StoredOptions) -> None:
        self._link = link
        self._options = options

    async def find(self, ids: Sequence[str]) -> Sequence[TaskInfo | None]:
        """Each task with its history, result and progress; a damaged one as quarantined."""
        if not ids:
            return []
        found, now = await read_tasks(self._link, ids, whole=True)
        await self._expire([one for one in found if one is not None], now)
        return [None if one is None else one.info for one in found]

    async def list(self, filter: Filter, after: str | None, limit: int) -> Tasks:
        """A page of at most ``limit`` tasks that match, without results.

        A page may be short, or empty, before the end: ``next`` tells. A task that moves on
        between two pages may show twice. Raises ConfigError for text that is no cursor.
        """
        return await page(self._link, filter, after, limit)

    async def stats(self) -> Stats:
        """The ledger of every lane and type that was declared or used."""
        now, lanes, types, counts, oldest = await self._link.run("view/stats")
        stats = Stats(at=float(now))
        for name, body in _pairs(lanes):
            lane_stats(stats, text(name)).paused = _read(_decode_lane, body, _Lane()).paused
        for type_, name in _pairs(types):
            lane_stats(stats, text(name)).types.setdefault(text(type_), TypeStats())
        enter_counts(stats, ((text(name), int(n)) for name, n in _pairs(counts) if int(n)))
        for name, at in _pairs(oldest):
            lane_stats(stats, text(name)).oldest_at = float(at)
        return stats

    async def workers(self) -> Sequence[WorkerInfo]:
        """Registered workers; one that died stays listed until its tasks are reclaimed."""
        now, known, beats, orders = await self._hashes("workers", "beats", "orders")
        found = ((name, _read(_decode_worker, body, None)) for name, body in known.items())
        return [
            _worker(
                worker,
                _read(_decode_beat, beats.get(name), None) or _least_beat(name, worker),
                _read(_decode_orders, orders.get(name), _Orders()),
                now,
            )
            for name, worker in sorted(found, key=lambda one: one[0])
            if worker is not None
        ]

    async def schedules(self) -> Sequence[Schedule]:
        """Recurring schedules that were announced or have fired."""
        _, known = await self._hashes("schedules")
        found = ((name, _read(_decode_standing, body, None)) for name, body in known.items())
        return [
            Schedule(
                name=text(name),
                version=one.version,
                last=one.last,
                rule=one.rule,
                seen=one.seen,
                fired=one.fired,
            )
            for name, one in sorted(found, key=lambda one: one[0])
            if one is not None
        ]

    async def _hashes(self, *names: str) -> tuple[Any, ...]:
        """The broker's clock, and these hashes."""
        now, *found = await self._link.run("view/hashes", *names)
        return (float(now), *(dict(_pairs(one)) for one in found))

    async def _expire(self, found: Sequence[Found], now: float) -> None:
        """Fill in when those that wait will have waited too long."""
        waiting = [one for one in found if may_expire(one.info)]
        names = list(dict.fromkeys(one.info.lane for one in waiting))
        if not names:
            return
        told = await self._link.run("view/pauses", *names)
        paused = {
            name: _read(_decode_lane, body, _Lane()).paused_for(now)
            for name, body in zip(names, told or [None] * len(names), strict=True)
        }
        for info, record, *_ in waiting:
            if info.task is not None and record is not None:
                info.expires_at = expires_at(info.task, record, paused[info.lane]) or 0.0


def _pairs(flat: Sequence[Any]) -> Iterable[tuple[Any, Any]]:
    return zip(flat[::2], flat[1::2], strict=True)


def _read(decoder: msgspec.msgpack.Decoder[T], body: bytes | None, other: Any) -> Any:
    """What was packed, or ``other`` if there is nothing, or if it is damaged."""
    if body is None:
        return other
    try:
        return decoder.decode(body)
    except DAMAGED:
        return other


def _least_beat(name: bytes, row: _Worker) -> Beat:
    """As much of a worker's heartbeat as the scripts keep for themselves."""
    return Beat(
        worker=text(name),
        lease=row.lease,
        heartbeat=row.heartbeat,
        host=row.host,
        pid=row.pid,
        started_at=row.started_at,
        number=row.number,
    )


def _worker(row: _Worker, beat: Beat, orders: _Orders, now: float) -> WorkerInfo:
    ago = now - row.seen
    return WorkerInfo(
        beat=beat,
        seen_ago=max(0.0, ago),
        alive=not row.dead and ago <= row.lease,
        quiet=orders.quiet,
        stop=orders.stop,
    )
