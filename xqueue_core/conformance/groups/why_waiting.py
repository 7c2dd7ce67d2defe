"""WHY: what is said of a task that waits by itself: for its time, or behind its own past."""

from __future__ import annotations

from xqueue_core.calls import Ability, Pause, Resume
from xqueue_core.conformance.asking import says, why
from xqueue_core.conformance.bench import OOPS, Bench
from xqueue_core.conformance.cases import case
from xqueue_core.conformance.check import between, holds, same
from xqueue_core.conformance.desk import Desk
from xqueue_core.task import Failed, HandBack, RetryAt, State, TimedOut
from xqueue_core.why import (
    CannotTell,
    Due,
    Ended,
    Expiring,
    HandedBack,
    Lost,
    NoWorker,
    Paused,
    Quarantined,
    Ready,
    Unknown,
)

VIEW = {Ability.VIEW}
#: A worker that is to die lives so many times as long as the shortest lease, so that a busy
#: machine does not let all miss two heartbeats again and again: nobody is judged then (P1.4).
LEASES = 4


@case("WHY1", needs=VIEW)
async def ended(bench: Bench) -> None:
    """Of a task that has ended it is told how, when, and after which failure."""
    worker = await bench.worker()
    good = await bench.submit()
    await worker.ends(await worker.one())
    found = await says(bench, good, Ended)
    same((found.state, found.fault), (State.SUCCESS, None), "end and failure")
    between(found.ago, 0.0, 5.0 * bench.scale, "seconds since its end")
    for outcome, state in ((Failed(OOPS), State.FAILED), (TimedOut(OOPS), State.TIMEOUT)):
        bad = await bench.submit()
        await worker.ends(await worker.one(), outcome)
        found = await says(bench, bad, Ended)
        fault = found.fault
        same(found.state, state, "end")
        same((fault and fault.type, fault and fault.message), (OOPS.type, OOPS.message), "failure")


@case("WHY2", needs=VIEW)
async def unknown(bench: Bench) -> None:
    """A task that was never put is unknown; whether its type is known is told apart."""
    await bench.submit()
    found = await says(bench, "job:nobody", Unknown)
    same((found.known, len((await why(bench, "job:nobody")).reasons)), (True, 1), "type known")
    found = await says(bench, "jobs:nobody", Unknown)
    same((found.known, found.near), (False, ("job",)), "whether known, and types like it")


@case("WHY3", needs=VIEW, traits={"corrupt"})
async def quarantined(bench: Bench) -> None:
    """A record that cannot be decoded is the only reason there is."""
    task = await bench.submit()
    await bench.harness.corrupt(bench.namespace, task.id)
    await says(bench, task, Quarantined)
    same(len((await why(bench, task)).reasons), 1, "number of reasons")


@case("WHY4", needs=VIEW | {Ability.DELAY})
async def due_later(bench: Bench) -> None:
    """A delay says for how long it lasts; a retry also after which failure of which attempt."""
    task = await bench.submit(delay=50.0)
    found = await says(bench, task, Due)
    same((found.after, found.fault), ("delay", None), "what is waited out")
    between(found.due_in, 50.0 - 5.0 * bench.scale, 50.0, "seconds until it is due")
    again = await bench.submit(max_retry=3)
    worker = await bench.worker()
    await worker.ends(await worker.one(), RetryAt(30.0, OOPS))
    found = await says(bench, again, Due)
    same((found.after, found.attempt, found.attempts), ("retry", 1, 4), "attempt that failed")
    same(found.fault and found.fault.message, OOPS.message, "its failure")
    between(found.due_in, 30.0 - 5.0 * bench.scale, 30.0, "seconds until it is due again")


@case("WHY5", needs=VIEW)
async def paused(bench: Bench) -> None:
    """A paused lane is told until it is resumed; then nothing stands in the task's way."""
    await bench.worker()
    task = await bench.submit()
    await bench.does(Pause("job"))
    found = await says(bench, task, Paused)
    same(found.lane, "job", "lane")
    await bench.does(Resume("job"))
    await says(bench, task, Ready)


@case("WHY6", needs=VIEW | {Ability.ATTEMPTS}, deadline=30.0)
async def handed_back(bench: Bench) -> None:
    """What a worker could not run says so, and which worker and why, until it is leased again."""
    task = await bench.submit()
    worker = await bench.worker()
    await worker.ends(await worker.one(), HandBack(unable="version"))
    found = await says(bench, task, HandedBack, first=False)
    same((found.reason, found.times, found.worker), ("version", 1, worker.id), "the hand-back")
    holds(found.at > 0, "the time of the hand-back is told")
    again = await worker.one()
    codes = [one.code for one in (await why(bench, task)).reasons]
    holds("handed_back" not in codes, "it is not told once another delivery has begun")
    await worker.ends(again)


@case("WHY7", needs=VIEW | {Ability.ATTEMPTS}, deadline=60.0)
async def lost(bench: Bench) -> None:
    """The workers that died with a task are counted, and the last one is named."""
    task = await bench.submit()
    await bench.worker("bystander", lease=LEASES * bench.short)
    for losses in (1, 2):
        victim = await bench.worker(f"victim{losses}", lease=LEASES * bench.short)
        await victim.one(within=20.0)
        await victim.die()
        await bench.sees(task, losses=losses, within=20.0)
        found = await says(bench, task, Lost, first=False)
        same((found.losses, found.worker), (losses, victim.id), "losses, and who died")
        same(found.alone, losses == 2, "whether it runs alone from then on")


@case("WHY8", needs=VIEW)
async def expires(bench: Bench) -> None:
    """How long a task may wait still is told, and does not become less while its lane is paused."""
    await bench.worker()
    task = await bench.submit(queue_timeout=50.0)
    found = await says(bench, task, Expiring, first=False)
    between(found.expires_in, 50.0 - 5.0 * bench.scale, 50.1, "seconds until it expires")
    await bench.does(Pause("job"))
    before = await says(bench, task, Expiring, first=False)
    await bench.passes(1.0 * bench.scale)
    after = await says(bench, task, Expiring, first=False)
    same((before.stands, after.stands), (True, True), "whether the time stands still")
    if after.exact:  # a backend need not tell the time; then it is not called exact
        # Half of what has passed: the task and the clock are not read at the same moment.
        bound = 0.5 * bench.scale
        between(after.expires_in - before.expires_in, -bound, bound, "change within the pause")


@case("WHY9", traits={"lacking"})
async def cannot_tell(bench: Bench) -> None:
    """What cannot be known for the lack of an ability is said to be unknown."""
    abilities = bench.harness.capabilities.abilities
    task = await bench.submit()
    reasons = (await why(bench, task)).reasons
    untold = {one.what for one in reasons if isinstance(one, CannotTell)}
    if Ability.VIEW not in abilities:
        same(untold, {"task"}, "what cannot be told without a view")
    elif Ability.LIMITS not in abilities:
        holds("limits" in untold, "limits cannot be told")
    kinds = {type(one) for one in reasons}
    holds(Unknown not in kinds, "a task that was put is not unknown")
    holds(not untold or Ready not in kinds, "what cannot be known is not said to be ready")


@case("WHY10", needs=VIEW | {Ability.LIMITS})
async def several(bench: Bench) -> None:
    """Of several reasons the most decisive comes first: a pause, no worker, then a limit."""
    desk = Desk(bench)
    await desk.limit("lane:job", 1)
    await desk.gets("lane:job")
    task = await bench.submit()
    await bench.does(Pause("job"))
    await says(bench, task, Paused)
    codes = [one.code for one in (await why(bench, task)).reasons]
    same(codes, ["lane_paused", "no_worker", "lane_limit"], "reasons")
    found = await says(bench, task, NoWorker, first=False)
    same((found.cause, found.lane), ("none", "job"), "why there is no worker")
