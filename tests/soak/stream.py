"""A steady stream of submits of all kinds, with delays and cancels, noted in the history."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from support.history.events import (
    CancelAnswered,
    CancelAsked,
    DeclaredDead,
    LanePaused,
    LaneResumed,
    LimitSet,
    Recorded,
    Submitted,
)
from support.history.noting import wishes
from support.history.writer import Writer, now
from xqueue_core import XQueue
from xqueue_core.calls import Pause, Resume
from xqueue_core.client.call import Call
from xqueue_core.errors import BrokerError
from xqueue_core.task import Event, EventName
from xqueue_core.views import Filter

#: How many of a hundred tasks are of each kind; "apart" only where isolation is wanted.
MIX = {"quick": 70, "plain": 8, "narrow": 6, "strict": 1, "keyed": 8, "flaky": 6, "long": 1}
APART = 1
USERS = 20
TICK = 0.05
#: So many at once, so often (seconds): a line in which priorities count.
BURST, BURST_EVERY = 400, 10.0


@dataclass(slots=True)
class Stream:
    """Submits ``rate`` tasks a second, and bursts, until cancelled.

    ``ids`` has all that were tried, with the latest answer.
    """

    app: XQueue
    handlers: Mapping[str, Any]
    writer: Writer
    chance: random.Random
    rate: float
    ids: dict[str, str] = field(default_factory=dict)
    errors: list[BaseException] = field(default_factory=list)  # that no broker's fault explains
    _under_way: set[asyncio.Task[None]] = field(default_factory=set)

    async def run(self) -> None:
        """Submit."""
        begun, made, bursts = now(), 0, 0
        while True:
            due = int((now() - begun) * self.rate) - made
            # After a pause of the machine the stream goes on, it does not catch up.
            due, made = min(due, int(self.rate)), made + due
            if now() - begun > BURST_EVERY * bursts + BURST_EVERY / 2:
                due, bursts = due + BURST, bursts + 1
            for _ in range(due):
                self._keep(asyncio.create_task(self._one()))
            await asyncio.sleep(TICK)

    async def finished(self, seconds: float) -> None:
        """Wait for what is under way: cancels that come later, and answers."""
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=seconds)
        for task in list(self._under_way):
            task.cancel()

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._under_way.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.errors.append(error)

    async def _one(self) -> None:
        call, noted, cancel_after = self._made()
        asked = now()
        noted["due"] = asked + noted.get("delay", 0.0)
        noted |= wishes(call.task)
        handle: Any = None
        answer: Literal["ok", "unknown"] = "unknown"
        try:
            [handle] = await self.app.submit_many([call])
            answer = "ok"
        except BrokerError:
            pass
        self.ids[call.id] = answer
        self.writer.write(Submitted(at=now(), id=call.id, answer=answer, **noted))
        if handle is not None and cancel_after is not None:
            await asyncio.sleep(cancel_after)
            await self._cancel(handle)

    async def _cancel(self, handle: Any) -> None:
        self.writer.write(CancelAsked(at=now(), id=handle.id))
        try:
            did = await handle.cancel("the run wants it")
        except BrokerError:
            return
        self.writer.write(CancelAnswered(at=now(), id=handle.id, did=did.value))

    def _made(self) -> tuple[Call[Any], dict[str, Any], float | None]:
        """A call, what is noted of it, and after how long it is canceled."""
        chance = self.chance
        kinds = {**MIX, "apart": APART} if "apart" in self.handlers else MIX
        [name] = chance.choices(list(kinds), list(kinds.values()))
        given: dict[str, Any] = {"ms": chance.uniform(0, 150 if name == "strict" else 500)}
        noted: dict[str, Any] = {"lane": name}
        options: dict[str, Any] = {}
        if name == "quick":
            given["priority"] = noted["priority"] = options["priority"] = chance.choice(
                (0, 0, 0, 5, 9)
            )
        elif name == "keyed":
            given["user"] = noted["key"] = f"user{chance.randrange(USERS)}"
        elif name == "flaky":
            given["fails"] = chance.choice((0, 1, 1, 2, 3))
        elif name == "long":
            del given["ms"]
        if chance.random() < 0.1:
            options["delay"] = noted["delay"] = chance.uniform(0.1, 3.0)
        cancel = chance.random() < (0.5 if name == "long" else 0.03)
        call = self.handlers[name].options(**options).call(**given)
        return call, noted, chance.uniform(0.0, 1.5) if cancel else None


async def watch(app: XQueue, writer: Writer) -> None:
    """Note what the broker's events say of ends and of dead workers, until cancelled."""
    wanted = Filter(names=frozenset({EventName.FINISHED, EventName.LOST}))
    async with app.connect() as connection:
        notifier, cursor = connection.faces.needed("notifier"), None
        while True:
            try:
                async for notice in notifier.subscribe(wanted, cursor):
                    cursor = notice.cursor
                    if notice.event is not None:
                        _note(notice.event, writer)
            except BrokerError:
                await asyncio.sleep(0.1)  # it goes on behind what it had last


def _note(event: Event, writer: Writer) -> None:
    if event.name is EventName.LOST or event.reason == "worker_lost":
        writer.write(DeclaredDead(at=now(), worker=event.worker, id=event.id))
    if event.name is EventName.FINISHED:
        writer.write(Recorded(at=now(), id=event.id, state=event.state.value))


async def vary(app: XQueue, writer: Writer, lane: str, limits: list[int], every: float) -> None:
    """Set one limit after the other on a lane, for ever, as an operator would."""
    async with app.connect() as connection:
        semaphore = connection.faces.needed("semaphore")
        while True:
            for limit in limits:
                await asyncio.sleep(every)
                asked = now()
                while True:
                    try:
                        await semaphore.set_limit(f"lane:{lane}", limit)
                        break
                    except BrokerError:
                        await asyncio.sleep(0.1)
                writer.write(LimitSet(at=asked, effective=now(), limit=limit, lane=lane))


async def pauses(app: XQueue, writer: Writer, lane: str, every: float, lasts: float) -> None:
    """Pause a lane for a while, again and again; it is left resumed."""
    async with app.connect() as connection:
        queue = connection.faces.needed("queue")

        async def sure(command: Pause | Resume) -> None:
            while True:
                try:
                    await queue.control([command])
                    return
                except BrokerError:
                    await asyncio.sleep(0.1)

        while True:
            await asyncio.sleep(every)
            try:
                await sure(Pause(lane=lane))
                writer.write(LanePaused(at=now(), lane=lane))
                await asyncio.sleep(lasts)
            finally:
                writer.write(LaneResumed(at=now(), lane=lane))
                await sure(Resume(lane=lane))
