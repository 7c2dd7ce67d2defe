"""P2: cancel against each outcome, expiry in the queue, priority, round robin."""

from __future__ import annotations

from xqueue_core.calls import Ability, Cancel, Did, Pause, Put, Replay, Resume, Settled, Unpark
from xqueue_core.conformance.bench import OOPS, Bench
from xqueue_core.conformance.cases import case
from xqueue_core.conformance.check import holds, one_of, same
from xqueue_core.errors import InvalidTask
from xqueue_core.task import (
    Canceled,
    Failed,
    HandBack,
    Outcome,
    Parked,
    RetryAt,
    State,
    Success,
    TimedOut,
)

VIEW = {Ability.VIEW}
CANCEL = {Ability.CANCEL, Ability.VIEW}
PRIORITY = {Ability.PRIORITY}


@case("P2.1a", needs=CANCEL)
async def cancel_and_outcome(bench: Bench) -> None:
    """After a cancel was requested, success stays success; failure, retry, park, hand-back and
    the rest become canceled, with the reason of the request."""
    outcomes: dict[str, Outcome] = {
        "success": Success(b"1"),
        "failed": Failed(OOPS),
        "retry": RetryAt(0.0, OOPS),
        "timed-out": TimedOut(OOPS),
        "handback": HandBack(),
        "ran": HandBack(ran=True),
        "unable": HandBack(unable="type"),
        "canceled": Canceled("by the handler"),
    }
    if Ability.LIMITS in bench.harness.capabilities.abilities:
        outcomes["parked"] = Parked()
    worker = await bench.worker()
    for name, outcome in outcomes.items():
        task = await bench.submit(name=name, key="k" if name == "parked" else None)
        delivery = await worker.one()
        await bench.does(Cancel(task.id, "stop it"), Did.REQUESTED)
        await worker.ends(delivery, outcome)
        if name == "success":
            await bench.sees(task, state=State.SUCCESS)
        else:
            await bench.sees(task, state=State.CANCELED, reason="stop it")
    await worker.none("deliveries of what was canceled")


@case("P2.1b", needs=CANCEL | {Ability.FENCE})
async def cancel_and_loss(bench: Bench) -> None:
    """A canceled task whose worker dies is canceled; the dead worker's late success is LOST."""
    task = await bench.submit()
    await bench.worker("bystander", lease=bench.short)
    victim = await bench.worker("victim", lease=bench.short)
    delivery = await victim.one()
    await bench.does(Cancel(task.id, "stop it"), Did.REQUESTED)
    await victim.die()
    await bench.sees(task, state=State.CANCELED, reason="stop it")
    same(await victim.settle(delivery), Settled.LOST, "answer to the late success")
    await bench.sees(task, state=State.CANCELED)


@case("P2.1c", needs={Ability.CANCEL, Ability.VIEW})
async def replay_after_cancel(bench: Bench) -> None:
    """A canceled task may be replayed, and nothing of the cancel is left."""
    task = await bench.submit()
    await bench.does(Cancel(task.id))
    await bench.does(Replay(task.id, "wish"))
    worker = await bench.worker()
    await worker.ends(await worker.one(), HandBack())
    await worker.ends(await worker.one())
    await bench.sees(task, state=State.SUCCESS, cancel_requested=False)


@case("P2.2a", needs=VIEW | {Ability.DELAY})
async def waits_from_due(bench: Bench) -> None:
    """``queue_timeout`` counts from when a task is due, not from its acceptance; a task that
    waited longer ends as ``timeout`` and is delivered to nobody."""
    late = await bench.submit("late", queue_timeout=0.3 * bench.scale)
    delayed = await bench.submit("delayed", delay=0.5, queue_timeout=3.0 * bench.scale)
    worker = await bench.worker()
    same((await worker.one("delayed")).task.id, delayed.id, "task due later than its time-out")
    await bench.sees(late, state=State.TIMEOUT, reason="queue_timeout", attempt=0)
    await worker.none("deliveries of what waited too long", "late")


@case("P2.2b", needs=VIEW | {Ability.ATTEMPTS})
async def retry_restarts(bench: Bench) -> None:
    """Retry and replay start the wait anew."""
    limit = 0.8 * bench.scale
    retried = await bench.submit("retried", queue_timeout=limit)
    replayed = await bench.submit("replayed", queue_timeout=limit)
    worker = await bench.worker()
    first = await worker.one("retried")
    await worker.ends(await worker.one("replayed"), Failed(OOPS))
    await bench.passes(0.6 * bench.scale)
    await worker.ends(first, RetryAt(0.0, OOPS))
    await bench.does(Replay(replayed.id, "wish"))
    await bench.passes(0.5 * bench.scale)
    got = await worker.take(2, within=0.3)
    same({one.task.id for one in got}, {retried.id, replayed.id}, "tasks delivered")


@case("P2.2c", needs=VIEW)
async def hand_back_goes_on(bench: Bench) -> None:
    """Hand-back and park do not start the wait anew: the task ends as ``timeout``."""
    limit = 0.6 * bench.scale
    back = await bench.submit("back", queue_timeout=limit)
    tasks = [back]
    worker = await bench.worker()
    delivery = await worker.one("back")
    if Ability.LIMITS in bench.harness.capabilities.abilities:
        tasks.append(await bench.submit("park", queue_timeout=limit, key="k"))
        await bench.passes(0.4 * bench.scale)
        await worker.ends(await worker.one("park"), Parked())
    else:
        await bench.passes(0.4 * bench.scale)
    await worker.ends(delivery, HandBack())
    for task in tasks:
        await bench.sees(task, state=State.TIMEOUT, reason="queue_timeout", within=1.0)
    await worker.none("deliveries of what waited too long")


@case("P2.2d", needs=VIEW)
async def loss_goes_on(bench: Bench) -> None:
    """A loss does not start the wait anew either."""
    task = await bench.submit(queue_timeout=0.2 * bench.scale)
    await bench.worker("bystander", lease=bench.short)
    victim = await bench.worker("victim", lease=bench.short)
    await victim.one()
    await victim.die()
    await bench.sees(task, state=State.TIMEOUT, reason="queue_timeout", losses=1)


@case("P2.2e", needs=VIEW)
async def pause_stops_the_clock(bench: Bench) -> None:
    """While its lane is paused nothing is leased, and the wait stands still."""
    task = await bench.submit(queue_timeout=0.8 * bench.scale)
    await bench.does(Pause("job"))
    worker = await bench.worker()
    same((await worker.beat()).paused, ["job"], "lanes told to be paused")
    await worker.none("deliveries from a paused lane", wait=1.0)
    await bench.sees(task, state=State.PENDING)
    await bench.does(Resume("job"))
    same((await worker.beat()).paused, [], "lanes told to be paused after the resume")
    same((await worker.one(within=0.7)).task.id, task.id, "task delivered after the resume")
    other = await bench.submit(queue_timeout=0.3 * bench.scale)
    await bench.sees(other, state=State.TIMEOUT)


@case("P2.2f", needs=VIEW)
async def pause_wakes_nobody(bench: Bench) -> None:
    """A lane that is paused keeps its work for the resume, which wakes a worker that waits."""
    await bench.does(Pause("job"))
    await bench.does(Pause("job"), Did.APPLIED)
    task = await bench.submit()
    worker = await bench.worker()
    await worker.none("deliveries from a paused lane")
    waiting = bench.start(worker.one)
    await bench.passes(0.1)
    await bench.does(Resume("job"))
    same((await waiting.done()).task.id, task.id, "task delivered")
    same((await bench.view.stats()).lanes["job"].paused, False, "whether the lane is paused")


@case("P2.3a", needs=PRIORITY)
async def range_of_priority(bench: Bench) -> None:
    """Priority is 0 to 9; anything else is refused with InvalidTask."""
    for priority in (-1, 10, 1000):
        answer = (await bench.put(bench.task(priority=priority)))[0]
        same(answer.put, Put.REJECTED, f"answer to priority {priority}")
        holds(isinstance(answer.error, InvalidTask), "the verdict carries InvalidTask")
    await bench.accept(*(bench.task(priority=priority) for priority in range(10)))
    same(len(await (await bench.worker()).take(10)), 10, "deliveries")


@case("P2.3b", needs=PRIORITY, traits={"lane_order"})
async def higher_first(bench: Bench) -> None:
    """Within a lane a higher priority comes first, and within a level the one put first."""
    order = [3, 0, 9, 5, 9, 0, 3]
    tasks = [await bench.submit(priority=priority) for priority in order]
    worker = await bench.worker()
    got = [(await worker.one()).task.id for _ in range(7)]
    expected = [task.id for task in sorted(tasks, key=lambda task: -task.priority)]
    same(got, expected, "order of deliveries")


@case("P2.3c", needs=PRIORITY, traits={"lane_order"})
async def one_in_sixteen(bench: Bench) -> None:
    """Of any sixteen deliveries to one worker while a higher level waits exactly one is of a
    lower level, and the lower levels take turns."""
    for priority, count in ((9, 90), (5, 10), (0, 10)):
        await bench.submit_many(count, priority=priority)
    worker = await bench.worker()
    got: list[int] = []
    for size in (1, 1, 5, 16, 3, 30, 8):
        got += [one.task.priority for one in await worker.lease(size, wait=1.0)]
    same(len(got), 64, "deliveries")
    for begin in range(len(got) - 15):
        lower = [priority for priority in got[begin : begin + 16] if priority < 9]
        same(len(lower), 1, f"lower ones among deliveries {begin} to {begin + 15}: {got}")
    turns = [priority for priority in got if priority < 9]
    one_of(turns, ([5, 0] * 2, [0, 5] * 2), "which lower level had its turn")


@case("P2.3d")
async def round_robin(bench: Bench) -> None:
    """Between lanes ``lease`` goes round robin, over calls and within one."""
    lanes = ("a", "b", "c")
    await bench.submit_many(30, "a")
    await bench.submit_many(10, "b")
    await bench.submit_many(10, "c")
    worker = await bench.worker()
    got = [(await worker.one(*lanes)).task.lane for _ in range(9)]
    same(sorted(got), sorted(lanes * 3), "lanes of nine single deliveries")
    many = [one.task.lane for one in await worker.lease(6, *lanes, wait=1.0)]
    same(sorted(many), sorted(lanes * 2), "lanes of six deliveries of one call")


@case("P2.3e", needs=PRIORITY | {Ability.LIMITS}, traits={"lane_order"})
async def back_in_front(bench: Bench) -> None:
    """A task handed back, or unparked, comes before those of its level that were put later."""
    first = await bench.submit(key="k")
    await bench.submit_many(3)
    worker = await bench.worker()
    await worker.ends(await worker.one(), HandBack())
    delivery = await worker.one()
    same(delivery.task.id, first.id, "task delivered after its hand-back")
    await worker.ends(delivery, Parked())
    await bench.does(Unpark("job", "k", 1))
    same((await worker.one()).task.id, first.id, "task delivered after it was unparked")


@case("P2.3f", needs=PRIORITY | {Ability.DELAY}, traits={"lane_order"})
async def due_in_its_turn(bench: Bench) -> None:
    """A task of a higher priority that becomes due comes next, though the lane never runs dry
    and nobody maintains since."""
    await bench.submit_many(20)
    worker = await bench.worker()
    await bench.rest()
    urgent = await bench.submit(delay=0.3, priority=9)
    await worker.one()
    await bench.passes(0.3 + 0.3 * bench.scale)
    same((await worker.one()).task.id, urgent.id, "task delivered after one became due")
