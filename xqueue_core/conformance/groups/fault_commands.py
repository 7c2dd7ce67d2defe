"""M: the reply to a command gets lost, each reply it waits for in its turn."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from typing import NamedTuple

from xqueue_core.calls import (
    Ability,
    Announce,
    AnyCommand,
    Cancel,
    Declare,
    Did,
    Hold,
    Order,
    Pause,
    Purge,
    Replay,
    Reschedule,
    Resume,
    Unpark,
    Verdict,
)
from xqueue_core.conformance.bench import OOPS, Bench
from xqueue_core.conformance.cases import case
from xqueue_core.conformance.check import holds, one_of, same
from xqueue_core.conformance.wire import Wire
from xqueue_core.conformance.worker import Worker
from xqueue_core.task import Failed, Parked, RetryAt, State


class _Told(NamedTuple):
    """One command, what it may answer in the end, and what then holds of its task."""

    command: AnyCommand
    answers: Collection[Did]
    holds: Callable[[], Awaitable[object]]


async def _cancel(bench: Bench, worker: Worker) -> _Told:
    task = await bench.submit("idle")
    command = Cancel(task.id, request="wish")
    return _Told(command, (Did.APPLIED,), lambda: bench.sees(task, state=State.CANCELED))


async def _cancel_running(bench: Bench, worker: Worker) -> _Told:
    task = await bench.submit("run")
    delivery = await worker.one("run")

    async def told() -> None:
        same(await worker.told(delivery), Hold.CANCELED, "what its worker is told")
        await worker.ends(delivery, RetryAt(0.0, OOPS))
        await bench.sees(task, state=State.CANCELED)

    return _Told(Cancel(task.id, request="wish"), (Did.REQUESTED,), told)


async def _replay(bench: Bench, worker: Worker) -> _Told:
    task = await bench.submit("again")
    await worker.ends(await worker.one("again"), Failed(OOPS))

    async def once() -> None:
        bench.replays += 1
        await bench.sees(task, replays=1, state=State.PENDING)
        await worker.ends(await worker.one("again"))
        await worker.none("deliveries of what was replayed once", "again")

    return _Told(Replay(task.id, "wish"), (Did.APPLIED, Did.REPEATED), once)


async def _purge(bench: Bench, worker: Worker) -> _Told:
    task = await bench.submit("idle")
    await bench.does(Cancel(task.id))
    command = Purge(task.id, request="another wish")
    return _Told(command, (Did.APPLIED,), lambda: bench.forgets(task))


async def _reschedule(bench: Bench, worker: Worker) -> _Told:
    task = await bench.submit("idle", delay=600.0)

    async def sooner() -> None:
        info = await bench.sees(task, state=State.SCHEDULED)
        holds(info.due_at < info.accepted_at + 500.0, "its time is the new one")

    return _Told(Reschedule(task.id, delay=300.0), (Did.APPLIED,), sooner)


async def _pause(bench: Bench, worker: Worker) -> _Told:
    await bench.submit("paused")

    async def stands_still() -> None:
        same((await bench.view.stats()).lanes["paused"].paused, True, "whether it is paused")
        await bench.does(Resume("paused"))
        await worker.ends(await worker.one("paused"))

    return _Told(Pause("paused"), (Did.APPLIED,), stands_still)


async def _resume(bench: Bench, worker: Worker) -> _Told:
    await bench.submit("paused")
    await bench.does(Pause("paused"))

    async def goes_on() -> None:
        await worker.ends(await worker.one("paused"))

    return _Told(Resume("paused"), (Did.APPLIED,), goes_on)


async def _unpark(bench: Bench, worker: Worker) -> _Told:
    for _ in range(2):
        await bench.submit("keyed", key="k")
    await worker.ends(await worker.one("keyed"), Parked())
    for delivery in await worker.lease(1, "keyed"):
        await worker.ends(delivery, Parked())

    async def all_come() -> None:
        await bench.control(Unpark("keyed", "k", 2))
        for delivery in await worker.take(2, "keyed"):
            await worker.ends(delivery)
        await worker.none("deliveries of what was parked once", "keyed")

    return _Told(Unpark("keyed", "k", 1), (Did.APPLIED,), all_come)


async def _declare(bench: Bench, worker: Worker) -> _Told:
    type = f"type{bench.number()}"
    bench.lanes["elsewhere"] = None

    async def in_one_lane() -> None:
        await bench.submit(type, lane="elsewhere")
        other = Declare(type, "other")
        same((await bench.control(other))[0].did, Did.CONFLICT, "answer to another lane")
        await worker.ends(await worker.one("elsewhere"))

    return _Told(Declare(type, "elsewhere"), (Did.APPLIED,), in_one_lane)


async def _announce(bench: Bench, worker: Worker) -> _Told:
    name = f"schedule{bench.number()}"

    async def in_force() -> None:
        found = [one.version for one in await bench.view.schedules() if one.name == name]
        same(found, [1], "versions of the schedule")

    return _Told(Announce(name, "every 60s"), (Did.APPLIED,), in_force)


async def _order(bench: Bench, worker: Worker) -> _Told:
    other = await bench.worker("ordered")

    async def heard() -> None:
        same((await other.beat()).quiet, True, "whether it is told to be quiet")
        await other.beat(leaving=True)

    return _Told(Order(other.id, quiet=True), (Did.APPLIED,), heard)


_COMMANDS = (
    *(_cancel, _cancel_running, _replay, _purge, _reschedule, _pause),
    *(_resume, _unpark, _declare, _announce, _order),
)


@case(
    "M127e",
    traits={"proxy"},
    needs={Ability.VIEW, Ability.CANCEL, Ability.DELAY, Ability.LIMITS, Ability.DEDUPE},
    deadline=120.0,
)
async def control(bench: Bench) -> None:
    """Each command whose reply got lost is repeated: it was carried out, once."""
    worker = await bench.worker()
    async with Wire.open(bench) as wire:
        for made in _COMMANDS:
            for loss in wire.losses():
                told = await made(bench, worker)

                async def give(command: AnyCommand = told.command) -> Verdict:
                    return (await wire.queue.control([command]))[0]

                verdict = await loss.of(give)
                one_of(verdict.did, told.answers, f"answer in the end to {told.command}")
                await told.holds()
