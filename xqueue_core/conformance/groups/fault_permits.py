"""M: the reply to a call of the semaphore or the notifier gets lost, each reply in its turn."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

from xqueue_core.abc import Notice, Notifier
from xqueue_core.calls import Ability
from xqueue_core.conformance.bench import Bench
from xqueue_core.conformance.cases import case
from xqueue_core.conformance.check import holds, same
from xqueue_core.conformance.desk import Desk
from xqueue_core.conformance.listener import Listener
from xqueue_core.conformance.wire import Wire
from xqueue_core.permits import Grant, Keep, Permit
from xqueue_core.task import Event, EventName, State
from xqueue_core.views import Filter

PROXY = {"proxy"}
LIMITS = {Ability.LIMITS}
EVENTS = {Ability.EVENTS}


def _desks(bench: Bench, wire: Wire) -> tuple[Desk, Desk]:
    """One that asks through the proxy, and one that does not."""
    here, there = Desk(bench, "here"), Desk(bench, "there")
    here.semaphore = wire.semaphore
    return here, there


def _holds(desk: Desk, key: str, id: str) -> Callable[[], Awaitable[bool]]:
    """A look whether this request holds a permit."""

    async def look() -> bool:
        return id in await desk.holders(key)

    return look


@case("M127h", traits=PROXY, needs=LIMITS, deadline=60.0)
async def acquire(bench: Bench) -> None:
    """A request whose reply got lost is repeated: it has one permit, or the place in line that
    it had; and no more are granted than the limit."""
    async with Wire.open(bench) as wire:
        here, there = _desks(bench, wire)
        for n, loss in enumerate(wire.losses()):
            key = f"granted{n}"
            await there.limit(key, 1)
            wish = here.wish(key)
            [answer] = await loss.of(partial(here.ask, wish), _holds(there, key, wish.id))
            same(answer.grant, Grant.GRANTED, "answer in the end")
            same((await there.ask(there.wish(key)))[0].grant, Grant.WAITING, "answer to another")
            same(await there.holders(key), [wish.id], "holders")
        for n, loss in enumerate(wire.losses()):
            key = f"waits{n}"
            await there.limit(key, 1)
            permit = await there.gets(key)
            wish, behind = here.wish(key), there.wish(key)
            [answer] = await loss.of(partial(here.ask, wish))
            same((answer.grant, answer.place), (Grant.WAITING, 1), "answer in the end, and place")
            same((await there.ask(behind))[0].place, 2, "place of the next one")
            await there.release(permit)
            same((await here.ask(wish, wait=1.0))[0].grant, Grant.GRANTED, "answer to the first")


@case("M127i", traits=PROXY, needs=LIMITS, deadline=60.0)
async def renew(bench: Bench) -> None:
    """A renewal whose reply got lost is repeated: what is held is kept, and versions are told."""
    async with Wire.open(bench) as wire:
        here, there = _desks(bench, wire)
        for n, loss in enumerate(wire.losses()):
            key = f"k{n}"
            await there.limit(key, 1)
            permit = await here.gets(key)
            told = await loss.of(partial(here.renew, permit, watch=(key, "never")))
            same(told.permits, [Keep.KEPT], "what the holder is told")
            holds(told.versions[key] > 0 == told.versions["never"], "the versions are told")
            same(await there.holders(key), [permit.id], "holders")


@case("M127j", traits=PROXY, needs=LIMITS, deadline=60.0)
async def release(bench: Bench) -> None:
    """A release whose reply got lost is repeated: the permit is free, once, and a place in line
    is left."""
    async with Wire.open(bench) as wire:
        here, there = _desks(bench, wire)
        for n, loss in enumerate(wire.losses()):
            key = f"k{n}"
            await there.limit(key, 1)
            permit = await here.gets(key)
            leaves, first, second = here.wish(key), there.wish(key), there.wish(key)
            await here.ask(leaves)
            await there.ask(first, second)
            await loss.of(partial(here.release, permit, Permit(leaves.id, key)))
            answers = await there.ask(first, second, wait=1.0)
            same([one.grant for one in answers], [Grant.GRANTED, Grant.WAITING], "answers")
            same(await there.holders(key), [first.id], "holders")


@case("M127k", traits=PROXY, needs=LIMITS, deadline=60.0)
async def set_limit(bench: Bench) -> None:
    """A limit whose reply got lost is set again: it stands, and so does its removal."""
    async with Wire.open(bench) as wire:
        _, there = _desks(bench, wire)
        for limit in (3, None):
            for n, loss in enumerate(wire.losses()):
                key = f"k{n}"
                if limit is None:
                    await there.limit(key, 3)
                await loss.of(partial(wire.semaphore.set_limit, key, limit))
                [shown] = await loss.of(partial(wire.semaphore.inspect, [key]))
                same(shown.limit, limit, "limit in the end")


@case("M127l", traits=PROXY, needs=EVENTS, deadline=60.0)
async def publish(bench: Bench) -> None:
    """Progress whose reply got lost is published again: it is heard, and nothing else is."""
    task = await bench.submit()
    delivery = await (await bench.worker()).one()
    async with Wire.open(bench) as wire, Listener(bench).open() as listener:
        said: list[int] = []
        for n, loss in enumerate(wire.losses()):
            event = Event(
                *(task.id, 2, EventName.PROGRESS, State.PROCESSING, 0.0, task.lane),
                delivery=delivery.token,
                data={"done": n},
            )
            await loss.of(partial(wire.notifier.publish, [event]))
            said.append(n)

        async def heard() -> bool:
            return {one.data.get("done") for one in listener.events} >= set(said)

        await bench.until("all progress is heard", heard)
        same({one.data.get("done") for one in listener.events}, set(said), "progress heard")


@case("M127m", traits=PROXY, needs=EVENTS, deadline=60.0)
async def subscribe(bench: Bench) -> None:
    """A subscription whose reply got lost goes on with the last cursor: it misses nothing."""
    worker = await bench.worker()
    async with Listener(bench).open() as listener:
        begun = listener.first
        for _ in range(3):
            await bench.submit()
            await worker.ends(await worker.one())
        last = await bench.submit()
        events = await listener.until(last, EventName.ACCEPTED)
    async with Wire.open(bench) as wire:
        for loss in wire.losses():
            got: list[Notice] = []
            read = partial(_read, wire.notifier, begun, got, len(events))
            await loss.of(read)
            heard = [one.event for one in got if one.event and one.event.type == last.type]
            same(heard[: len(events)], events, "events heard")


async def _read(notifier: Notifier, after: str, got: list[Notice], count: int) -> None:
    """Go on behind what is there already, until there are so many."""
    cursor = got[-1].cursor if got else after
    async for notice in notifier.subscribe(Filter(types=frozenset({"job"})), cursor):
        got.append(notice)
        if len(got) >= count:
            return
