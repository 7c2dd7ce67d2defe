"""P4.1, P4.2: unique keys, tombstones, slots; a type's lane."""

from __future__ import annotations

from typing import Any

from xqueue_core.calls import Ability, Declare, Did, Locate, Put, Replay
from xqueue_core.conformance.bench import OOPS, Bench
from xqueue_core.conformance.cases import case
from xqueue_core.conformance.check import holds, same
from xqueue_core.task import Failed, Slot, State, Task

DEDUPE = {Ability.DEDUPE}
#: As the client makes it: base32 of a hash of the key.
HASH = "mfrggzdfmztwq2lknnwg23tpob"


def unique(bench: Bench, n: int, type: str = "job", **options: Any) -> Task:
    """The n-th task put for one unique key."""
    return bench.task(type, name=f"k{HASH}~{n}", unique_key=HASH, **options)


async def put(bench: Bench, task: Task) -> tuple[Put, str]:
    """What becomes of one put."""
    answer = (await bench.put(task))[0]
    return answer.put, answer.of


@case("P4.1a", needs=DEDUPE)
async def held_until_final(bench: Bench) -> None:
    """A unique key is held until its task is final; meanwhile another one is a DUPLICATE of it.
    Each type has keys of its own."""
    first = unique(bench, 1)
    same(await put(bench, first), (Put.NEW, ""), "first put")
    same(await put(bench, unique(bench, 2)), (Put.DUPLICATE, first.id), "put while it waits")
    same((await put(bench, unique(bench, 3, "other")))[0], Put.NEW, "put of another type")
    worker = await bench.worker()
    delivery = await worker.one("job")
    same(await put(bench, unique(bench, 4)), (Put.DUPLICATE, first.id), "put while it runs")
    await worker.ends(delivery)
    same((await put(bench, unique(bench, 5)))[0], Put.NEW, "put after its end")
    same(await put(bench, unique(bench, 5)), (Put.DUPLICATE, f"job:k{HASH}~5"), "the same again")


@case("P4.1b", needs=DEDUPE)
async def held_for_a_time(bench: Bench) -> None:
    """With ``unique_for`` a key is held for that time from acceptance, whatever the task does."""
    time = 1.2 * bench.scale
    first = unique(bench, 1, unique_for=time)
    await put(bench, first)
    began = bench.clock()
    worker = await bench.worker()
    await worker.ends(await worker.one())
    if bench.clock() - began < time * 0.8:
        same(await put(bench, unique(bench, 2)), (Put.DUPLICATE, first.id), "put after its end")
    await bench.passes(time)
    same((await put(bench, unique(bench, 3)))[0], Put.NEW, "put when the time is over")


@case("P4.1c", needs=DEDUPE | {Ability.VIEW})
async def replay_and_key(bench: Bench) -> None:
    """A replay of a task whose unique key another live task holds is a DUPLICATE of that; later
    it is applied, and holds the key again."""
    first, second = unique(bench, 1), unique(bench, 2)
    await put(bench, first)
    worker = await bench.worker()
    await worker.ends(await worker.one(), Failed(OOPS))
    await put(bench, second)
    verdict = await bench.does(Replay(first.id, "wish"), Did.DUPLICATE)
    same(verdict.of, second.id, "the task that holds the key")
    await worker.ends(await worker.one())
    await bench.does(Replay(first.id, "wish"))
    same(await put(bench, unique(bench, 3)), (Put.DUPLICATE, first.id), "put after the replay")


@case("P4.1d", needs=DEDUPE | {Ability.VIEW})
async def tombstone(bench: Bench) -> None:
    """An id outlives its task's record: putting it again is a DUPLICATE, and nothing runs."""
    task = await bench.submit(result_ttl=0.0)
    worker = await bench.worker()
    await worker.ends(await worker.one())
    await bench.forgets(task)
    same((await put(bench, task))[0], Put.DUPLICATE, "the same id again")
    await worker.none("deliveries of an id of the past")


@case("P4.1e", needs=DEDUPE | {Ability.VIEW}, settings={"client_retry": 0.4})
async def short_memory(bench: Bench) -> None:
    """An id that nobody chose is forgotten after twice the client's longest retry."""
    task = await bench.submit(result_ttl=0.0, remember=False)
    kept = await bench.submit(result_ttl=0.0)
    worker = await bench.worker()
    for delivery in await worker.take(2):
        await worker.ends(delivery)
    same((await put(bench, task))[0], Put.DUPLICATE, "the same id at once")
    await bench.passes(0.8)

    async def new() -> bool:
        return (await put(bench, task))[0] is Put.NEW

    await bench.until("the id is forgotten", new)
    same((await put(bench, kept))[0], Put.DUPLICATE, "an id that somebody chose")


@case("P4.1f", needs=DEDUPE | {Ability.VIEW})
async def expunged_replay(bench: Bench) -> None:
    """A task whose record is gone cannot be replayed."""
    task = await bench.submit(result_ttl=0.0)
    worker = await bench.worker()
    await worker.ends(await worker.one())
    await bench.forgets(task)
    await bench.does(Replay(task.id, "wish"), Did.UNKNOWN)


@case("P4.2a", needs=DEDUPE)
async def slot_of_a_duplicate(bench: Bench) -> None:
    """A put that is repeated with its slot, because its answer was lost, is a DUPLICATE of
    itself, and the slot stays fired."""
    task = bench.task(slot=Slot("hourly", 1, 3600.0))
    same((await put(bench, task))[0], Put.NEW, "first put")
    same(await put(bench, task), (Put.DUPLICATE, task.id), "the same again")
    again = bench.task(slot=Slot("hourly", 1, 3600.0))
    same((await put(bench, again))[0], Put.DUPLICATE, "another id for the same slot")
    same(len(await (await bench.worker()).lease(5, wait=1.0)), 1, "deliveries")


@case("P4.1g", needs={Ability.VIEW})
async def lane_of_a_type(bench: Bench) -> None:
    """A type's lane is recorded; another one is a CONFLICT that names the first while it has
    live tasks, and is applied when it has none."""
    await bench.declare("job", "first")
    await bench.declare("job", "first")
    same("first" in (await bench.view.stats()).lanes, True, "the lane is known to readers")
    await bench.submit(lane="first")
    verdict = await bench.does(Declare("job", "second"), Did.CONFLICT)
    same(verdict.of, "first", "the lane named")
    worker = await bench.worker()
    await worker.ends(await worker.one("first"))
    await bench.sees("job:t1", state=State.SUCCESS)
    await bench.declare("job", "second")
    task = await bench.submit(lane="second")
    holds((await worker.one("second")).task.id == task.id, "the new lane is used")


@case("P4.1h", needs={Ability.VIEW})
async def lane_located(bench: Bench) -> None:
    """Whoever asks for a type's lane is told the one recorded last, and records nothing."""
    await bench.does(Locate("job"), Did.UNKNOWN)
    await bench.declare("job", "first")
    same((await bench.does(Locate("job"))).of, "first", "the lane of the type")
    await bench.submit(lane="first")
    worker = await bench.worker()
    await worker.ends(await worker.one("first"))
    await bench.sees("job:t1", state=State.SUCCESS)
    await bench.declare("job", "second")
    same((await bench.does(Locate("job"))).of, "second", "the lane it was moved to")
    await bench.does(Locate("other"), Did.UNKNOWN)
    same(
        "other" in {t for lane in (await bench.view.stats()).lanes.values() for t in lane.types},
        False,
        "a type is recorded by a question",
    )
