"""O: the same work ends the same, whatever broker it runs on."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from typing import Any

from xqueue_core.calls import Ability, Cancel, Delivery, Did, Put, Replay, Settled, Unpark
from xqueue_core.conformance.bench import OOPS, Bench
from xqueue_core.conformance.cases import case
from xqueue_core.conformance.check import Broken, same
from xqueue_core.conformance.harness import BackendHarness
from xqueue_core.conformance.worker import Worker, ended
from xqueue_core.plugins import load_backend
from xqueue_core.task import (
    Failed,
    Failure,
    HandBack,
    Outcome,
    Parked,
    RetryAt,
    State,
    Success,
    Task,
    TimedOut,
)

#: Seeds of the workloads, and tasks of each.
SEEDS, TASKS = (1, 2, 3), 60
#: Seconds within which a workload has ended.
ENDS = 30.0

_TIMED_OUT = Failure("process_timeout", message="as the plan wanted")


@dataclass(frozen=True)
class Plan:
    """What happens to one task.

    Attributes:
        ends: how its deliveries end, one after the other; the last one for all that follow.
        twice: it is put again after its acceptance.
        cancel: it is cancelled before anybody may have leased it.
        stop: it is cancelled while its first delivery is held.
        replay: it is replayed once it has ended.
    """

    name: str
    options: dict[str, Any] = field(default_factory=dict)
    ends: tuple[Outcome, ...] = (Success(),)
    twice: bool = False
    cancel: bool = False
    stop: bool = False
    replay: bool = False


#: How a delivery ends that is not the last one.
_MIDDLE: tuple[Outcome, ...] = (RetryAt(0.0, OOPS), HandBack(), HandBack(ran=True))
#: How the last one does.
_LAST: tuple[Outcome, ...] = (
    Success(b'"done"'),
    Success(b"\x00", content_type="application/octet-stream"),
    Failed(OOPS),
    TimedOut(_TIMED_OUT),
    RetryAt(0.0, OOPS),
    RetryAt(0.0, _TIMED_OUT, timed_out=True),
)


def plans(seed: int, abilities: frozenset[Ability]) -> list[Plan]:
    """The workload of a seed, with what these abilities allow."""
    rng = random.Random(seed)
    return [_plan(rng, f"s{seed}-{n}", abilities) for n in range(TASKS)]


def _plan(rng: random.Random, name: str, abilities: frozenset[Ability]) -> Plan:
    # Everything is drawn, whether or not it is used, so that a seed means the same everywhere.
    middle = tuple(rng.choices(_MIDDLE, k=rng.randrange(4)))
    plan = Plan(name, {"max_retry": rng.randrange(4)}, (*middle, rng.choice(_LAST)))
    kind, twice, level = rng.randrange(10), rng.random() < 0.2, rng.randrange(10)
    delay = rng.uniform(0.0, 0.3)
    if twice and Ability.DEDUPE in abilities:
        plan = replace(plan, twice=True)
    if Ability.PRIORITY in abilities:
        plan.options["priority"] = level
    if kind < 2 and Ability.DELAY in abilities:
        plan.options["delay"] = delay
    elif kind == 2 and {Ability.CANCEL, Ability.DELAY} <= abilities:
        plan.options["delay"] = 600.0
        plan = replace(plan, cancel=True)
    elif kind == 3 and Ability.CANCEL in abilities:
        plan = replace(plan, stop=True)
    elif kind == 4 and Ability.VIEW in abilities:
        plan = replace(plan, replay=True)
    elif kind == 5 and Ability.LIMITS in abilities:
        plan.options["key"] = f"key-{level % 3}"
        plan = replace(plan, ends=(Parked(), *plan.ends))
    return plan


class Workload:
    """Does to a backend what the plans say, and tells how the tasks ended.

    ``abilities`` are those of the backend under test, on the reference as well.
    """

    def __init__(self, bench: Bench, planned: list[Plan], abilities: frozenset[Ability]) -> None:
        self._bench = bench
        self._abilities = abilities
        self._plans = {f"job:{plan.name}": plan for plan in planned}
        self._seen: dict[str, int] = {}
        self._parked: set[str] = set()

    async def run(self) -> dict[str, tuple[Any, ...]]:
        """Run it all; how each task ended, by its id."""
        bench = self._bench
        tasks = [bench.task(name=plan.name, **plan.options) for plan in self._plans.values()]
        await bench.accept(*tasks)
        await self._before(tasks)
        await self._work(tasks)
        again = [task for task in tasks if self._plans[task.id].replay]
        for task in again:
            await bench.does(Replay(task.id, "again"))
        await self._work(tasks)
        return {task.id: await self._ended(task) for task in tasks}

    async def _before(self, tasks: list[Task]) -> None:
        for task in tasks:
            plan = self._plans[task.id]
            if plan.twice:
                same(
                    (await self._bench.put(task))[0].put, Put.DUPLICATE, "answer to a repeated put"
                )
            if plan.cancel:
                await self._bench.does(Cancel(task.id))

    async def _work(self, tasks: list[Task]) -> None:
        """Lease and settle until every task has ended."""
        bench = self._bench
        worker = await bench.worker(f"w{bench.number()}")
        patience = bench.pace.wait(ENDS * bench.scale)
        left = {task.id for task in tasks}
        while left:
            for delivery in await worker.lease(10, wait=0.1):
                await self._settle(worker, delivery)
            await self._unpark()
            found = await bench.view.find(sorted(left))
            left -= {info.id for info in found if info is not None and info.state.final}
            if patience.left() <= 0:
                raise Broken(f"{len(left)} tasks did not end within {ENDS:g} s: {sorted(left)[:5]}")

    async def _settle(self, worker: Worker, delivery: Delivery) -> None:
        id = delivery.task.id
        plan, nth = self._plans[id], self._seen.get(id, 0)
        self._seen[id] = nth + 1
        if plan.stop and not nth:
            await self._bench.does(Cancel(id), Did.REQUESTED)
        outcome = plan.ends[min(nth, len(plan.ends) - 1)]
        [verdict] = await worker.settle_all([ended(delivery, outcome)])
        same(verdict, Settled.APPLIED, f"answer to the settle of delivery {nth + 1} of {id}")
        if isinstance(outcome, Parked):
            self._parked.add(delivery.task.key or "")

    async def _unpark(self) -> None:
        for key in sorted(self._parked):
            await self._bench.control(Unpark("job", key, 10))

    async def _ended(self, task: Task) -> tuple[Any, ...]:
        info = await self._bench.info(task)
        if info is None:
            return ("unknown",)
        failure = info.failure.reason if info.failure else ""
        told: tuple[Any, ...] = (info.state.value, info.reason, failure, info.replays)
        if Ability.ATTEMPTS in self._abilities:
            told += (info.attempt, [one.how for one in info.history])
        if Ability.RESULTS in self._abilities and info.state is State.SUCCESS:
            told += (info.result, info.result_type)
        return told


@case("O140", needs={Ability.VIEW}, deadline=120.0)
async def same_ends(bench: Bench) -> None:
    """The same seeded workloads, with retries, hand-backs, cancels, parked and replayed tasks, end
    the same here and on the reference backend, memory: every task in the same state, for the same
    reason, after the same attempts, with the same result."""
    abilities = bench.harness.capabilities.abilities
    backend = load_backend("memory")
    reference = BackendHarness(
        backend,
        lambda name, changes: backend.Settings(namespace=name[:32], **changes),
        name="memory",
        time_scale=bench.scale,
    )
    for seed in SEEDS:
        planned = plans(seed, abilities)
        here = await Workload(bench, planned, abilities).run()
        async with Bench(reference, bench.case, f"seed-{seed}").open() as other:
            there = await Workload(other, planned, abilities).run()
        different = {id: (here[id], there[id]) for id in here if here[id] != there[id]}
        same(different, {}, f"what ended otherwise here than on memory, with seed {seed}")
