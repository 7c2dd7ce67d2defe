"""A stored queue over memory with a clock that stands still, and a store to meddle with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec

from support.stores import FakeClock
from xqueue_core.calls import Beat, BeatReply, Delivery, Held, Put, Settle, Settled, Want
from xqueue_core.errors import BrokerError, Unavailable, Unknown
from xqueue_core.stored.bell import LocalBell
from xqueue_core.stored.layout import Quarantined, unpack_task
from xqueue_core.stored.queue import StoredQueue
from xqueue_core.stored.records import ANY, Change, Group, Log, Now, Records, Row, Scan
from xqueue_core.task import FINAL, AnyOutcome, Event, EventName, Record, Success, Task
from xqueue_memory import MemoryRecords

LEASE, HEARTBEAT = 15.0, 1.0

Action = Callable[[], Awaitable[Any]]


class Meddled(Records):
    """Passes everything on to another store, and lets a test step in between."""

    def __init__(self, inner: Records) -> None:
        self.inner = inner
        self._before: list[tuple[str, int, Action]] = []
        self._lost = 0
        self.swaps = 0
        self.loads = 0
        self.read: list[str] = []  #: keys of the rows whose bodies were read

    def before(self, method: str, action: Action, nth: int = 1) -> None:
        """Run an action before the nth call of a method from now, once."""
        self._before.append((method, nth, action))

    def refuse(self, method: str, nth: int = 1, error: type[BrokerError] = Unavailable) -> None:
        """The nth call of a method from now finds the store gone."""

        async def gone() -> None:
            raise error("the store is gone")

        self.before(method, gone, nth)

    def lose_reply(self, nth: int = 1) -> None:
        """The nth swap from now is carried out, but its answer does not arrive."""
        self._lost = nth

    @property
    def waiting(self) -> int:
        """How much of what was asked for has not come about yet."""
        return len(self._before) + (self._lost > 0)

    async def _met(self, method: str) -> None:
        due = [action for name, nth, action in self._before if (name, nth) == (method, 1)]
        self._before = [
            (name, nth - (name == method), action)
            for name, nth, action in self._before
            if (name, nth) != (method, 1)
        ]
        for action in due:
            await action()

    async def now(self) -> Now:
        await self._met("now")
        return await self.inner.now()

    async def load(self, keys: Sequence[str]) -> Sequence[Row | None]:
        await self._met("load")
        self.loads += 1
        self.read += keys
        return await self.inner.load(keys)

    async def swap(self, groups: Sequence[Group]) -> Sequence[bool]:
        await self._met("swap")
        self.swaps += 1
        verdicts = await self.inner.swap(groups)
        self._lost -= 1
        if self._lost == 0:
            raise Unknown("the reply was lost")
        return verdicts

    async def scan(self, scans: Sequence[Scan]) -> Sequence[Sequence[Row]]:
        await self._met("scan")
        found = await self.inner.scan(scans)
        self.read += (row.key for rows in found for row in rows)
        return found

    async def outline(self, scans: Sequence[Scan]) -> Sequence[Sequence[Row]]:
        await self._met("outline")
        found = await self.inner.outline(scans)
        return [[row._replace(body=b"") for row in rows] for rows in found]

    async def due(self, limit: int) -> tuple[Sequence[Row], float | None]:
        await self._met("due")
        return await self.inner.due(limit)

    async def counts(self, prefix: str, after: str, limit: int) -> Sequence[tuple[str, int]]:
        await self._met("counts")
        return await self.inner.counts(prefix, after, limit)

    async def log(self, after: int | None, limit: int) -> Log:
        return await self.inner.log(after, limit)

    async def trim(self, before: float) -> None:
        await self.inner.trim(before)


def a_task(n: int | str, **changes: Any) -> Task:
    """A task of the type ``type`` in the lane of the same name."""
    return Task(id=f"type:{n}", **{"lane": "type", **changes})


class Bench:
    """A queue and everything a test wants to do with it, in few words."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.store = MemoryRecords(self.clock)
        self.records = Meddled(self.store)
        self.queue = self.another()
        self.ids: set[str] = set()
        self._calls: Counter[str] = Counter()

    def another(self) -> StoredQueue:
        """Another process's queue over the same store."""
        return StoredQueue(self.records, LocalBell())

    def later(self, seconds: float) -> None:
        """Move the clocks."""
        self.clock.wall += seconds
        self.clock.steady += seconds

    async def put(self, *tasks: Task) -> list[Put]:
        self.ids |= {task.id for task in tasks}
        return [one.put for one in await self.queue.put(tasks)]

    async def beat(
        self, worker: str, *held: Delivery, answered: int | None = None, **beat: Any
    ) -> BeatReply:
        """One heartbeat, by default one that has seen every lease of :meth:`lease`."""
        times = {"lease": LEASE, "heartbeat": HEARTBEAT, **beat}
        last = self._calls[worker] if answered is None else answered
        names = [Held(one.task.id, one.token) for one in held]
        return await self.queue.extend(Beat(worker=worker, answered=last, **times), names)

    async def lease(
        self, worker: str, limit: int = 1, *, lane: str = "type", call: int | None = None
    ) -> list[Delivery]:
        """Lease without waiting, under the next call number."""
        if call is None:
            self._calls[worker] += 1
            call = self._calls[worker]
        leased = await self.queue.lease([Want(lane, limit)], limit, call, worker, 0.0)
        return leased.deliveries

    async def settle(self, delivery: Delivery, outcome: AnyOutcome | None = None) -> Settled:
        [one] = await self.queue.settle(
            [Settle(delivery.task.id, delivery.token, outcome or Success())]
        )
        return one

    async def record(self, id: str) -> Record:
        """The task's record."""
        body = await self.body(id)
        assert isinstance(body, Record), body
        return body

    async def body(self, id: str) -> Any:
        """What is stored under the id; None if nothing is."""
        [row] = await self.store.load([f"t/{id}"])
        return None if row is None else unpack_task(row)

    async def damage(self, key: str, body: bytes = b"Rubbish") -> None:
        """Overwrite a row's body; where it lies and its alarm stay as they were."""
        [row] = await self.store.load([key])
        assert row is not None
        alarm = self.store._alarm_of.get(key)
        change = Change(key, row.version, body, row.bucket, row.order, alarm)
        assert await self.store.swap([Group([change])]) == [True]

    async def forget(self, key: str) -> None:
        """Remove a row."""
        await self.store.swap([Group([Change(key, ANY, None)])])

    async def counts(self) -> dict[str, int]:
        """Every count, by name."""
        return dict(await self.store.counts("", "", 10_000))

    async def events(self) -> list[Event]:
        """Every event so far."""
        log = await self.store.log(0, 1_000_000)
        return [
            msgspec.msgpack.decode(event, type=Event) for _, part in log.entries for event in part
        ]

    async def audit(self) -> None:
        """The ledger is right: it balances, and says what the rows say; no event is missing."""
        counts = await self.counts()
        expected: Counter[str] = Counter()
        for id in self.ids:
            _count(id, await self.body(id), expected)
        gauges = ("scheduled", "pending", "processing", "parked", "quarantined")
        kept = {
            name: n
            for name, n in counts.items()
            if name.startswith("k/") or name.rpartition("/")[2] in gauges
        }
        assert kept == expected
        total: Counter[str] = Counter()
        for name, n in counts.items():
            total[name.rpartition("/")[2]] += n if name.startswith("c/") else 0
        live = total["scheduled"] + total["pending"] + total["processing"]
        final = sum(total[state.value] for state in FINAL)
        assert total["accepted"] + total["replayed"] == live + final
        _check_events(await self.events())


def _count(id: str, body: object, counts: Counter[str]) -> None:
    kind = id.partition(":")[0]
    if isinstance(body, Quarantined) and body.field:
        counts[f"c/{body.lane}/{kind}/{body.field}"] += 1
        counts[f"c/{body.lane}/{kind}/quarantined"] += 1
    if not isinstance(body, Record) or body.state in FINAL:
        return
    task = msgspec.msgpack.decode(body.raw, type=Task)
    counts[f"c/{task.lane}/{kind}/{body.state.value}"] += 1
    if body.parked:
        counts[f"c/{task.lane}/{kind}/parked"] += 1
        counts[f"k/{task.lane}/{task.key or ''}"] += 1


def _check_events(events: Sequence[Event]) -> None:
    last: dict[str, int] = {}
    for event in events:
        if event.name is EventName.ACCEPTED:
            last[event.id] = 0
        if event.name is not EventName.QUARANTINED:
            assert event.seq == last[event.id] + 1, event
            last[event.id] = event.seq
