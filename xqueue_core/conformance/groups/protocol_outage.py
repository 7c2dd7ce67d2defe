"""P1.4, P1.5: nothing expires while nobody could renew; what a settle is told."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from xqueue_core.calls import Ability, Hold, Settle, Settled
from xqueue_core.conformance.bench import Bench
from xqueue_core.conformance.cases import case
from xqueue_core.conformance.check import Broken, one_of, same
from xqueue_core.conformance.desk import Desk
from xqueue_core.conformance.worker import ended
from xqueue_core.permits import Grant, Keep
from xqueue_core.task import HandBack, State, Success

FENCE = {Ability.FENCE}


@case("P1.4a")
async def outage_kills_nobody(bench: Bench) -> None:
    """After an outage of twice the lease, in which no worker could beat, the first heartbeat
    starts the leases anew: no living worker's task is taken away."""
    await _judged(bench, _nobody_dies)


async def _nobody_dies(bench: Bench, lease: float) -> bool:
    await bench.submit_many(2)
    workers = [await bench.worker(name, lease=lease) for name in ("a", "b")]
    held = [await worker.one() for worker in workers]
    for worker in workers:
        await worker.die()
    await bench.passes(2 * lease)
    began = bench.clock()
    same(await workers[0].told(held[0]), Hold.KEPT, "what the first is told afterwards")
    for _ in range(3):
        await bench.queue.maintain(0.1)
        await bench.passes(0.2 * lease)
        await workers[0].beat()
    await bench.queue.maintain(0.1)
    told = await workers[1].told(held[1])
    judged = bench.clock() - began < lease
    if judged:
        same(told, Hold.KEPT, "what the other is told, still in its lease")
    for worker, delivery in zip(workers, held, strict=True):
        await (worker.ends(delivery) if judged else worker.settle(delivery))
        await worker.beat(leaving=True)
    return judged


@case("P1.4b")
async def the_dead_are_found(bench: Bench) -> None:
    """After an outage a worker that does not come back is declared dead, one lease after the
    first heartbeat of another; the one that came back keeps its task."""
    await bench.submit_many(2)
    lives, dies = [await bench.worker(name, lease=bench.short) for name in ("lives", "dies")]
    kept, lost = await lives.one(), await dies.one()
    await lives.die()
    await dies.die()
    await bench.passes(2 * bench.short)
    await lives.beat()
    lives.live()
    detection = bench.harness.capabilities.failure_detection * bench.scale
    again = await lives.one(within=bench.short + detection + 1.0)
    same(again.task.id, lost.task.id, "task taken from the dead")
    same(await lives.told(kept), Hold.KEPT, "what the living one is told")


@case("P1.4c", needs={Ability.LIMITS})
async def permits_outlast_an_outage(bench: Bench) -> None:
    """Permits do not expire for time in which nobody could renew: after an outage of twice the
    lease none is granted above the limit, and their holders keep them."""
    await _judged(bench, _permits_are_kept)


async def _permits_are_kept(bench: Bench, lease: float) -> bool:
    key = f"k{lease:g}"
    holders = [Desk(bench, f"{name}{lease:g}", lease=lease) for name in ("a", "b")]
    newcomer = Desk(bench, f"newcomer{lease:g}", lease=lease)
    await newcomer.limit(key, 2)
    permits = [await desk.gets(key) for desk in holders]
    for desk, permit in zip(holders, permits, strict=True):
        await desk.renew(permit)
    await bench.passes(2 * lease)
    wish = newcomer.wish(key)
    began = bench.clock()
    same((await newcomer.ask(wish))[0].grant, Grant.WAITING, "answer right after the outage")
    same((await holders[0].renew(permits[0])).permits, [Keep.KEPT], "what the first is told")
    for _ in range(3):
        await bench.passes(0.2 * lease)
        await holders[0].renew(permits[0])
        grant = (await newcomer.ask(wish))[0].grant
        if bench.clock() - began >= lease:
            return False
        same(grant, Grant.WAITING, "answer within the lease")
    told = (await holders[1].renew(permits[1])).permits[0]
    if bench.clock() - began >= lease:
        return False
    one_of(told, (Keep.KEPT, Keep.YIELD), "what the other is told, still in its lease")
    return True


async def _judged(bench: Bench, story: Callable[[Bench, float], Awaitable[bool]]) -> None:
    """Tell a story with leases that grow until it was over within one.

    Whoever was last heard of before an outage has a lease from its end on. On a slow machine calls
    alone may take longer than a short one, and what was right to promise is over when it is seen.
    """
    for times in (1, 2, 4):
        if await story(bench, times * bench.short):
            return
    raise Broken(f"a few calls took longer than {4 * bench.short:g} s: this cannot be judged")


@case("P1.5a", needs=FENCE)
async def late_settle(bench: Bench) -> None:
    """A worker that was declared dead learns LOST and changes nothing, before and after the
    other has settled."""
    await bench.submit()
    heir = await bench.worker("heir", lease=bench.short)
    victim = await bench.worker("victim", lease=bench.short)
    old = await victim.one()
    await victim.die()
    new = await heir.one()
    same(await victim.settle(old), Settled.LOST, "answer while another has it")
    await heir.ends(new, HandBack())
    last = await heir.one()
    same(await victim.settle(old), Settled.LOST, "answer after a hand-back")
    await heir.ends(last)
    same(await victim.settle(old), Settled.LOST, "answer after the end")
    same(await heir.settle(last), Settled.REPEATED, "answer to the other's repeated settle")


@case("P1.5b", needs=FENCE | {Ability.VIEW})
async def settled_without_a_trace(bench: Bench) -> None:
    """A settle whose answer was lost is answered REPEATED although the record with
    ``result_ttl`` 0 is gone; any other token of that task is LOST."""
    task = await bench.submit(result_ttl=0.0, remember=False)
    worker = await bench.worker()
    early = await worker.one()
    await worker.ends(early, HandBack())
    delivery = await worker.one()
    await worker.ends(delivery)
    await bench.forgets(task)
    for one in (delivery, early):
        same(await worker.settle(one), Settled.REPEATED, "answer to a settle of long ago")
    foreign = Settle(task.id, delivery.token + 1, Success())
    same(await worker.settle_all([foreign]), [Settled.LOST], "answer to another token")


@case("P1.5c", needs=FENCE)
async def repeated_mixed(bench: Bench) -> None:
    """A call of settles that is repeated with more in it applies only what is new."""
    await bench.submit_many(4)
    worker = await bench.worker()
    got = await worker.take(4)
    settles = [ended(one) for one in got]
    same(await worker.settle_all(settles[:2]), [Settled.APPLIED] * 2, "answers")
    expected = [Settled.REPEATED] * 2 + [Settled.APPLIED] * 2
    same(await worker.settle_all(settles), expected, "answers when repeated")


@case("P1.5d", needs=FENCE | {Ability.VIEW})
async def first_outcome_stands(bench: Bench) -> None:
    """The first outcome of a delivery stands: another one for the same token changes nothing."""
    task = await bench.submit()
    worker = await bench.worker()
    delivery = await worker.one()
    await worker.ends(delivery, Success(b"1"))
    before = await bench.sees(task, state=State.SUCCESS)
    same(await worker.settle(delivery, Success(b"2")), Settled.REPEATED, "second answer")
    after = await bench.sees(task, state=State.SUCCESS)
    same((after.result, after.seq), (before.result, before.seq), "result and sequence number")
