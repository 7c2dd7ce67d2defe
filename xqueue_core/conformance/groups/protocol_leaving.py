"""P1.2: heartbeats of workers that have left, and of those that were taken for dead."""

from __future__ import annotations

from xqueue_core.calls import Ability, Beat, Did, Held, Order, Want
from xqueue_core.conformance.bench import Bench
from xqueue_core.conformance.cases import case
from xqueue_core.conformance.check import Broken, same
from xqueue_core.conformance.worker import LONG
from xqueue_core.errors import LeaseLost


def _beat(id: str, number: int, lease: float = LONG, *, leaving: bool = False) -> Beat:
    """One heartbeat that says which process sent it."""
    return Beat(
        worker=id,
        lease=lease,
        heartbeat=lease / 5,
        host="host.example",
        pid=4711,
        started_at=1.7e9,
        lanes=["job"],
        number=number,
        leaving=leaving,
    )


@case("P1.2l")
async def overtaken_by_the_last(bench: Bench) -> None:
    """A heartbeat that comes late, when its worker has left with a later one, does not bring it
    back: nothing is leased to it. The next process of that id is a worker like any other."""
    task = await bench.submit()
    id = f"left~{bench.number():032x}"
    for number, leaving in ((1, False), (3, True), (2, False)):
        await bench.queue.extend(_beat(id, number, leaving=leaving), [])
    try:
        got = await bench.queue.lease([Want("job", 1)], 1, 1, id, 0.0)
    except LeaseLost:
        pass
    else:
        raise Broken(f"{id}, which has left, was answered with {got}")
    next_one = _beat(id, 1)
    next_one.started_at += 60.0
    await bench.queue.extend(next_one, [])
    [delivery] = (await bench.queue.lease([Want("job", 1)], 1, 1, id, 1.0)).deliveries
    same(delivery.task.id, task.id, "what the next process of that id leases")
    await bench.queue.extend(next_one, [Held(task.id, delivery.token)])
    last = _beat(id, 2, leaving=True)
    last.started_at = next_one.started_at
    await bench.queue.extend(last, [])


@case("P1.2m", needs={Ability.VIEW}, deadline=30.0)
async def ordered_before_it_was_dead(bench: Bench) -> None:
    """What a worker was ordered to do stays ordered if it is declared dead and comes back; of
    another process of its id it was not wished."""
    heir = await bench.worker("heir", lease=bench.short)
    stopped, replaced = [f"{name}~{bench.number():032x}" for name in ("stopped", "replaced")]
    for id in (stopped, replaced):
        await bench.queue.extend(_beat(id, 1, bench.short), [])
        await bench.does(Order(id, quiet=True, stop=True))

    async def dead() -> bool:
        ids = {one.beat.worker for one in await bench.view.workers()}
        return heir.id in ids and not ids & {stopped, replaced}

    await bench.until("both are declared dead", dead, within=20.0)
    reply = await bench.queue.extend(_beat(stopped, 2, bench.short), [])
    same((reply.quiet, reply.stop), (True, True), "what it is ordered when it is back")
    next_one = _beat(replaced, 1, bench.short)
    next_one.started_at += 60.0
    reply = await bench.queue.extend(next_one, [])
    same((reply.quiet, reply.stop), (False, False), "what another process is ordered")
    await bench.does(Order(stopped))
    reply = await bench.queue.extend(_beat(stopped, 3, bench.short), [])
    same((reply.quiet, reply.stop), (False, False), "what it is ordered in the end")
    await bench.queue.extend(_beat(stopped, 4, bench.short, leaving=True), [])
    await bench.does(Order(stopped), Did.UNKNOWN)
