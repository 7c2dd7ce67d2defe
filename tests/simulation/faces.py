"""A worker's faces of the broker: the real ones, behind a net."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from simulation.broker import Broker
from simulation.net import Net
from simulation.story import Story
from support.history.events import GivenUp, HandedBack, PermitsRenewed
from xqueue_core.abc import Faces, Notice, Notifier, Semaphore, TaskQueue
from xqueue_core.calls import (
    Accepted,
    AnyCommand,
    Beat,
    BeatReply,
    Held,
    Leased,
    Lines,
    Settle,
    Settled,
    Verdict,
    Want,
)
from xqueue_core.permits import Answer, Keep, KeyInfo, Permit, Renewed, Request
from xqueue_core.task import Event, HandBack, RetryAt, Task
from xqueue_core.views import Filter

if TYPE_CHECKING:
    from simulation.process import Process


class SimQueue(TaskQueue):
    """Every call goes through the net; heartbeats and settles are noted."""

    def __init__(
        self,
        inner: TaskQueue,
        net: Net,
        broker: Broker,
        process: Process,
    ) -> None:
        self._process = process
        self._inner = inner
        self._net = net
        self._broker = broker
        self._story: Story = broker.story
        self._worker = process.name

    async def put(self, tasks: Sequence[Task]) -> Sequence[Accepted]:
        answer: Sequence[Accepted] = await self._net.call("put", partial(self._inner.put, tasks))
        return answer

    async def lease(
        self, wants: Sequence[Want], limit: int, call: int, worker: str, wait: float
    ) -> Leased:
        if wants:
            self._process.told.fetched = self._broker.loop.now
        make = partial(self._inner.lease, wants, limit, call, worker)
        leased: Leased = await self._net.call("lease", partial(make, wait), wait, partial(make, 0))
        if leased.deliveries:
            what = " ".join(f"{one.task.id}/{one.token % 10**9}" for one in leased.deliveries)
            self._story.say(self._worker, "leased", f"call {call}: {what}")
        return leased

    async def settle(self, outcomes: Sequence[Settle]) -> Sequence[Settled]:
        for one in outcomes:
            if type(one.outcome) is HandBack:
                now, ran = self._broker.loop.now, one.outcome.ran
                self._story.note(
                    HandedBack(at=now, id=one.id, token=one.token, ran=ran, worker=self._worker)
                )
            elif type(one.outcome) is RetryAt:
                self._broker.retries[one.id, one.token] = one.outcome.delay
                if self._process.gives_up(one):
                    now = self._broker.loop.now
                    self._story.note(
                        GivenUp(at=now, id=one.id, token=one.token, worker=self._worker)
                    )
            how = type(one.outcome).__name__.lower()
            self._story.say(self._worker, "settles", f"{one.id}/{one.token % 10**9} {how}")
        make = partial(self._inner.settle, outcomes)
        try:
            answer: Sequence[Settled] = await self._net.call("settle", make)
        except BaseException:  # also one that is cut short
            now = self._broker.loop.now
            self._broker.untold.update({(one.id, one.token): now for one in outcomes})
            raise
        return answer

    async def extend(self, beat: Beat, held: Sequence[Held]) -> BeatReply:
        sent = self._broker.loop.now
        reply: BeatReply = await self._net.call("extend", partial(self._extend, beat, held))
        self._broker.heard.setdefault(beat.worker, []).append((sent, self._broker.loop.now))
        self._process.told.hear(reply)
        return reply

    async def _extend(self, beat: Beat, held: Sequence[Held]) -> BeatReply:
        begun = self._broker.loop.now
        reply = await self._inner.extend(beat, held)
        if not beat.leaving:
            self._broker.extended.setdefault(beat.worker, []).append(begun)
            self._broker.acknowledged.setdefault(beat.worker, []).append(self._broker.loop.now)
            self._process.out.renewed()
        return reply

    async def control(self, commands: Sequence[AnyCommand]) -> Sequence[Verdict]:
        make = partial(self._inner.control, commands)
        answer: Sequence[Verdict] = await self._net.call("control", make)
        return answer

    async def maintain(self, budget: float) -> float:
        seconds: float = await self._net.call("maintain", partial(self._inner.maintain, budget))
        return seconds

    async def parked(self, lanes: Sequence[str], after: str | None, limit: int) -> Lines:
        make = partial(self._inner.parked, lanes, after, limit)
        lines: Lines = await self._net.call("parked", make)
        return lines


class SimSemaphore(Semaphore):
    """Every call goes through the net; grants are looked at where they are made."""

    def __init__(
        self, inner: Semaphore, net: Net, broker: Broker, process: Process, *, watched: bool
    ) -> None:
        self._process = process
        self._inner = inner
        self._net = net
        self._broker = broker
        self._watched = watched  # nothing comes between a grant and the look at it

    async def acquire(self, requests: Sequence[Request], wait: float) -> Sequence[Answer]:
        make = partial(self._acquire, requests)
        answers: Sequence[Answer] = await self._net.call(
            "acquire", partial(make, wait), wait, partial(make, 0)
        )
        return answers

    async def _acquire(self, requests: Sequence[Request], wait: float) -> Sequence[Answer]:
        answers = await self._inner.acquire(requests, wait)
        if self._watched:
            self._broker.saw_grants(requests, answers)
        return answers

    async def renew(
        self,
        worker: str,
        permits: Sequence[Permit],
        watch: Sequence[str],
        lease: float,
        heartbeat: float = 0.0,
    ) -> Renewed:
        make = partial(self._renew, worker, permits, watch, lease, heartbeat)
        renewed: Renewed = await self._net.call("renew", make)
        for permit, keep in zip(permits, renewed.permits, strict=True):
            if keep is Keep.YIELD:
                self._process.yielding.setdefault(permit.id, self._broker.loop.now)
        return renewed

    async def _renew(self, worker: str, *given: Any) -> Renewed:
        begun = self._broker.loop.now
        renewed = await self._inner.renew(worker, *given)
        self._broker.story.note(PermitsRenewed(at=begun, worker=worker))
        return renewed

    async def release(self, permits: Sequence[Permit]) -> None:
        await self._net.call("release", partial(self._inner.release, list(permits)))

    async def set_limit(self, key: str, limit: int | None, *, pinned: bool = True) -> None:
        make = partial(self._inner.set_limit, key, limit, pinned=pinned)
        await self._net.call("set_limit", make)

    async def inspect(self, keys: Sequence[str]) -> Sequence[KeyInfo]:
        make = partial(self._inner.inspect, keys)
        infos: Sequence[KeyInfo] = await self._net.call("inspect", make)
        return infos


class SimNotifier(Notifier):
    """Publishes through the net."""

    def __init__(self, inner: Notifier, net: Net) -> None:
        self._inner = inner
        self._net = net

    async def publish(self, events: Sequence[Event]) -> None:
        await self._net.call("publish", partial(self._inner.publish, events))

    def subscribe(self, filter: Filter, after: str | None = None) -> AsyncIterator[Notice]:
        return self._inner.subscribe(filter, after)


def behind(
    net: Net,
    broker: Broker,
    inner: Faces,
    process: Process,
    *,
    embedded: bool,
) -> Faces:
    """These faces as a worker behind this net sees them."""
    semaphore: Any = inner.semaphore
    notifier: Any = inner.notifier
    return Faces(
        SimQueue(inner.queue, net, broker, process),
        inner.view,
        SimSemaphore(semaphore, net, broker, process, watched=not embedded),
        SimNotifier(notifier, net),
    )
