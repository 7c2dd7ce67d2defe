"""The broker: a store in memory behind a clock of its own, and what was seen to happen in it."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from random import Random
from typing import Any

import msgspec

from simulation.loop import SeededLoop, Strand
from simulation.story import Story
from xqueue_core.abc import Faces
from xqueue_core.permits import Answer, Grant, Request
from xqueue_core.stored.bell import LocalBell
from xqueue_core.stored.gate import Gate
from xqueue_core.stored.layout import unpack
from xqueue_core.stored.leases import Registration
from xqueue_core.stored.notifier import StoredNotifier
from xqueue_core.stored.options import StoredOptions
from xqueue_core.stored.permit_rows import MARK, gate_key, lease_key
from xqueue_core.stored.queue import StoredQueue
from xqueue_core.stored.records import ANY, Change, Group, Log, Now, Records, Row, Scan
from xqueue_core.stored.semaphore import StoredSemaphore
from xqueue_core.stored.view import StoredView
from xqueue_core.task import Event
from xqueue_memory import MemoryRecords

#: The broker's wall clock when the loop's stands at 0.
WALL = 1_700_000_000.0
#: Chance that a step of a driver that runs in its worker is followed by others' steps.
YIELDS = 0.3

_event = msgspec.msgpack.Decoder(Event).decode


class Broker:
    """What all workers share."""

    def __init__(self, loop: SeededLoop, story: Story) -> None:
        self.loop = loop
        self.story = story
        self.strand = Strand("broker")
        self.weather = ""  # for everybody: see net
        self.calls: dict[asyncio.Task[Any], None] = {}  # under way here
        self._booted, self._epoch = 900.0, "run-1"
        self.records = MemoryRecords(self.now)
        self.bell = OrderedBell()
        #: Of each worker, when heartbeats that were carried out began, and when they ended.
        self.extended: dict[str, list[float]] = {}
        self.acknowledged: dict[str, list[float]] = {}
        self.heard: dict[str, list[tuple[float, float]]] = {}  # sent, and the reply received
        self.retries: dict[tuple[str, int], float] = {}  # delivery -> delay asked for
        self.untold: dict[tuple[str, int], float] = {}  # delivery -> when its settle last failed
        self.granted: set[str] = set()  # requests
        self.wrong: list[str] = []

    def now(self) -> Now:
        """The broker's clocks."""
        now = self.loop.now
        return Now(WALL + now, now - self._booted, self._epoch)

    def reboot(self) -> None:
        """Another run: what was stored is here, the steady clock begins anew."""
        for call in self.calls:
            call.cancel()
        self._booted = self.loop.now
        self._epoch = f"run-{int(self._epoch[4:]) + 1}"

    def faces(self, random: Random, *, embedded: bool = False) -> Faces:
        """Drivers of this store; embedded ones run step by step among the others."""
        records: Records = Shaky(self.records, random) if embedded else self.records
        options = StoredOptions()
        return Faces(
            StoredQueue(records, self.bell, options),
            StoredView(records, options),
            StoredSemaphore(records, self.bell, options, random, asyncio.sleep),
            StoredNotifier(records, self.bell, options),
        )

    def forget_permits(self) -> None:
        """The semaphore loses all it has: limits, permits, lines, and who renews them."""
        kinds = gate_key(""), lease_key("")
        lost = [key for key in self.records._rows if key.startswith(kinds) or key == MARK]
        self.records._apply(Group([Change(key, ANY, None) for key in lost]))

    def gate(self, key: str) -> Gate | None:
        """What the semaphore knows of a key; None if nothing."""
        row = self.records._rows.get(gate_key(key))
        return unpack(row, Gate) if row is not None else None

    def holders(self) -> list[tuple[str, str, str]]:
        """Every permit that is held: its key, its id, and whose it is.

        Not what was lost when its worker's registration ended: that goes when it is in the way.
        """
        prefix = gate_key("")
        keys = [key.removeprefix(prefix) for key in self.records._rows if key.startswith(prefix)]
        return [
            (key, id, holder.worker)
            for key in keys
            if (gate := self.gate(key)) is not None
            for id, holder in gate.holders.items()
            if holder.term == self._term(holder.worker)
        ]

    def _term(self, worker: str) -> int | None:
        row = self.records._rows.get(lease_key(worker))
        own = unpack(row, Registration) if row is not None else None
        return own.term if own is not None else None

    async def log(self) -> list[Event]:
        """Every event so far."""
        log = await self.records.log(0, 1_000_000)
        return [_event(event) for _, part in log.entries for event in part]

    def committed(self) -> dict[tuple[str, int], float]:
        """When each event, by its task and number, was written: an embedded driver reads the
        clock, by which the event is dated, some steps earlier."""
        return {
            (event.id, event.seq): wall - WALL
            for wall, part in self.records._log
            for event in map(_event, part)
        }

    def saw_grants(self, requests: Sequence[Request], answers: Sequence[Answer]) -> None:
        """An acquire has just been carried out: was anything granted above the limit?"""
        for request, answer in zip(requests, answers, strict=True):
            if answer.grant is not Grant.GRANTED or request.id in self.granted:
                continue
            self.granted.add(request.id)
            gate = self.gate(request.key)
            if gate is None or request.running or gate.limit is None:
                continue
            if answer.token < int((WALL + self.loop.now) * 1e6) - 1000:
                continue  # granted by a call whose answer was lost
            if len(gate.holders) > gate.limit:
                self.wrong.append(
                    f"G6: {request.key}: {len(gate.holders)} permits of {gate.limit} "
                    f"after {request.id} was granted at {self.loop.now - 1000.0:.6f}"
                )


class OrderedBell(LocalBell):
    """Rings topics in an order that does not depend on how strings are hashed."""

    def sound(self, topics: Collection[str]) -> None:
        """Wake whoever listens to one of these topics."""
        super().sound(sorted(topics))


class Shaky(Records):
    """A driver's way to the store: others have their turn between its steps."""

    def __init__(self, inner: Records, random: Random) -> None:
        self._inner = inner
        self._draw = random.random

    async def _turn(self) -> None:
        if self._draw() < YIELDS:
            await asyncio.sleep(0.0 if self._draw() < 0.7 else 0.005 * self._draw())

    async def now(self) -> Now:
        return await self._inner.now()

    async def load(self, keys: Sequence[str]) -> Sequence[Row | None]:
        await self._turn()
        return await self._inner.load(keys)

    async def swap(self, groups: Sequence[Group]) -> Sequence[bool]:
        await self._turn()
        done = await self._inner.swap(groups)
        await self._turn()
        return done

    async def scan(self, scans: Sequence[Scan]) -> Sequence[Sequence[Row]]:
        await self._turn()
        return await self._inner.scan(scans)

    async def due(self, limit: int) -> tuple[Sequence[Row], float | None]:
        await self._turn()
        return await self._inner.due(limit)

    async def counts(self, prefix: str, after: str, limit: int) -> Sequence[tuple[str, int]]:
        return await self._inner.counts(prefix, after, limit)

    async def log(self, after: int | None, limit: int) -> Log:
        return await self._inner.log(after, limit)

    async def trim(self, before: float) -> None:
        await self._inner.trim(before)
