"""P4.2 in full: first sights, versions, and slots that give way to a run that is still live."""

from __future__ import annotations

import anyio

from xqueue_core.calls import Ability, Accepted, Announce, Cancel, Did, Put, Verdict
from xqueue_core.conformance.bench import Bench
from xqueue_core.conformance.cases import case
from xqueue_core.conformance.check import between, holds, same
from xqueue_core.task import Slot, State, Task

DEDUPE = {Ability.DEDUPE}

#: The schedule here, and a hash such as its tasks' tokens and unique keys have.
NAME, HASH = "every so often", "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def fires(bench: Bench, at: float, version: int = 1, *, gives_way: bool = False) -> Task:
    """A task for a slot, with a token as schedulers make them."""
    name = f"k{HASH}~{bench.number():032x}"
    slot = Slot(NAME, version, at)
    return bench.task(name=name, slot=slot, run_at=at, unique_key=HASH if gives_way else None)


async def put(bench: Bench, task: Task) -> Accepted:
    """Put one task."""
    return (await bench.put(task))[0]


async def announce(bench: Bench, rule: str, did: Did = Did.APPLIED, **changes: float) -> Verdict:
    """Announce a rule of the schedule."""
    return await bench.does(Announce(NAME, rule, **changes), did)


@case("P4.2b", needs=DEDUPE)
async def first_sight(bench: Bench) -> None:
    """A schedule begins when it is first announced: no slot before that fires, and what is
    announced again, from whatever process, changes nothing."""
    first = await announce(bench, "a")
    between(abs(first.at - (await now(bench))), 0.0, 5.0, "seconds between first sight and now")
    same(first.count, 1, "version")
    other = await bench.another()
    for queue in (bench.queue, other.queue):
        again = (await queue.control([Announce(NAME, "a")]))[0]
        same((again.did, again.count, again.at), (Did.APPLIED, 1, first.at), "the same again")
    same((await put(bench, fires(bench, first.at - 1))).put, Put.DUPLICATE, "a slot before it")
    same((await put(bench, fires(bench, first.at))).put, Put.DUPLICATE, "a slot at that moment")
    same((await put(bench, fires(bench, first.at + 1))).put, Put.NEW, "the next slot")
    same((await announce(bench, "a")).at, first.at + 1, "last slot")


async def now(bench: Bench) -> float:
    """The broker's wall clock, as a delivery tells it."""
    worker = await bench.worker()
    task = await bench.submit("clock")
    delivery = await worker.one("clock")
    same(delivery.task.id, task.id, "task delivered")
    await worker.ends(delivery)
    return delivery.leased_at


@case("P4.2c", needs=DEDUPE)
async def many_announce_at_once(bench: Bench) -> None:
    """Of many workers that announce a new rule at once all learn the same version."""
    queues = [bench.queue, (await bench.another()).queue, (await bench.another()).queue]
    for rule, version in (("a", 1), ("b", 2), ("c", 3)):
        told: list[Verdict] = []

        async def one(n: int, rule: str = rule, told: list[Verdict] = told) -> None:
            told.extend(await queues[n % 3].control([Announce(NAME, rule)]))

        async with anyio.create_task_group() as group:
            for n in range(9):
                group.start_soon(one, n)
        same({(v.did, v.count) for v in told}, {(Did.APPLIED, version)}, f"answers to {rule!r}")
        same(len({v.at for v in told}), 1, "different last slots told")


@case("P4.2d", needs=DEDUPE)
async def changed_rule(bench: Bench) -> None:
    """A changed rule has a higher version: the old one fires nothing more, does not come back by
    being announced, and what was due before the change does not fire."""
    begun = (await announce(bench, "old")).at
    same((await put(bench, fires(bench, begun + 0.001))).put, Put.NEW, "a slot of the old rule")
    await bench.passes(0.05)
    new = await announce(bench, "new")
    same(new.count, 2, "version of the new rule")
    holds(new.at > begun + 0.001, "it begins at its own first sight")
    same((await put(bench, fires(bench, new.at + 60, 1))).put, Put.DUPLICATE, "old version's slot")
    refused = await announce(bench, "old", Did.CONFLICT)
    same((refused.of, refused.count, refused.at), ("new", 2, new.at), "what is in force")
    same((await put(bench, fires(bench, new.at - 0.01, 2))).put, Put.DUPLICATE, "an early slot")
    same((await put(bench, fires(bench, new.at + 1, 2))).put, Put.NEW, "the new rule's slot")


@case("P4.2e", needs=DEDUPE)
async def former_rule(bench: Bench) -> None:
    """A rule that was replaced is in force again, under a higher version, once the one that
    replaced it has neither been announced nor fired since a moment given."""
    begun = (await announce(bench, "old")).at
    second = (await announce(bench, "new")).at
    early = await announce(bench, "old", Did.CONFLICT, unheard=second - 1)
    same(early.count, 2, "version while the new rule was heard of since")
    await bench.passes(0.05)
    back = await announce(bench, "old", after=begun, unheard=second + 0.02)
    same((back.count, back.at), (3, second), "version and last slot")
    same((await put(bench, fires(bench, second + 60, 2))).put, Put.DUPLICATE, "replaced version")
    same((await put(bench, fires(bench, second + 60, 3))).put, Put.NEW, "slot of the rule")


@case("P4.2l", needs=DEDUPE)
async def deployed_again(bench: Bench) -> None:
    """A rule that was rolled back replaces the earlier one again as soon as it is announced; the
    earlier one is then refused as before, by whomever it is announced."""
    await announce(bench, "old")
    second = (await announce(bench, "new")).at
    await bench.passes(0.05)
    await announce(bench, "old", unheard=second + 0.02)
    again = await announce(bench, "new")
    same(again.count, 4, "version of the rule that is deployed again")
    refused = await announce(bench, "old", Did.CONFLICT, unheard=second + 0.02)
    same((refused.of, refused.count), ("new", 4), "what is in force")
    same((await announce(bench, "new")).count, 4, "version, announced by another worker")
    soon = again.at + 60
    same((await put(bench, fires(bench, soon, 3))).put, Put.DUPLICATE, "old version's slot")
    same((await put(bench, fires(bench, soon, 4))).put, Put.NEW, "the new rule's slot")


@case("P4.2f", needs=DEDUPE)
async def slot_gives_way(bench: Bench) -> None:
    """A slot whose task is a duplicate by its unique key is consumed in the same step: it fires
    nothing, then or later, and the next one fires if the key is free by then."""
    begun = (await announce(bench, "a")).at
    live = fires(bench, begun + 0.001, gives_way=True)
    same((await put(bench, live)).put, Put.NEW, "first slot")
    answer = await put(bench, fires(bench, begun + 0.002, gives_way=True))
    same((answer.put, answer.of), (Put.DUPLICATE, live.id), "slot while the task is live")
    same((await announce(bench, "a")).at, begun + 0.002, "last slot")
    await bench.does(Cancel(live.id), Did.APPLIED)
    again = await put(bench, fires(bench, begun + 0.002, gives_way=True))
    same(again.put, Put.DUPLICATE, "the consumed slot, once the key is free")
    third = await put(bench, fires(bench, begun + 0.003, gives_way=True))
    same(third.put, Put.NEW, "the slot after it")


@case("P4.2g", needs=DEDUPE)
async def slots_that_give_way_race(bench: Bench) -> None:
    """However many schedulers put the same slots at once while runs begin and end, each slot
    makes at most one task, and two are never live at the same time."""
    begun = (await announce(bench, "a")).at
    queues = [bench.queue, (await bench.another()).queue, (await bench.another()).queue]
    made: list[str] = []
    for n in range(1, 9):
        before = sum(bench.new.values())
        tasks = [fires(bench, begun + n / 1000, gives_way=True) for _ in range(6)]
        ends = [Cancel(made[-1])] if made and n % 2 else []

        async def one(n: int, tasks: list[Task] = tasks, ends: list[Cancel] = ends) -> None:
            if n == 3:
                await bench.control(*ends)
            [answer] = await bench.put(tasks[n], queue=queues[n % 3])
            if answer.put is Put.NEW:
                made.append(tasks[n].id)

        async with anyio.create_task_group() as group:
            for k in range(len(tasks)):
                group.start_soon(one, k)
        holds(sum(bench.new.values()) - before <= 1, "a slot makes at most one task")
        if Ability.VIEW in bench.harness.capabilities.abilities:
            found = await bench.view.find(made)
            live = [info.id for info in found if info and not info.state.final]
            holds(len(live) <= 1, f"at most one task is live, not {live}")


@case("P4.2h", needs=DEDUPE)
async def many_slots_in_one_put(bench: Bench) -> None:
    """Slots of one schedule in one put are taken in their order, each once."""
    begun = (await announce(bench, "a")).at
    wanted = (0.001, 0.002, 0.003, 0.003, 0.002, 0.004)
    answers = await bench.put(*(fires(bench, begun + after) for after in wanted))
    new, old = Put.NEW, Put.DUPLICATE
    same([one.put for one in answers], [new, new, new, old, old, new], "answers")


@case("P4.2i", needs=DEDUPE | {Ability.VIEW})
async def listed(bench: Bench) -> None:
    """Schedules are listed with rule, version and last slot, also before they have fired."""
    verdict = await announce(bench, "every 60s")
    [one] = await bench.view.schedules()
    same((one.name, one.rule, one.version, one.last), (NAME, "every 60s", 1, verdict.at), "listed")
    holds(one.seen >= verdict.at, "when it was announced")
    holds(one.fired in (None, 0.0), "told to have fired before its first slot")
    await put(bench, fires(bench, verdict.at + 1))
    [one] = await bench.view.schedules()
    same((one.rule, one.version, one.last), ("every 60s", 1, verdict.at + 1), "after a slot")
    holds(one.fired in (None, verdict.at + 1), "another slot told to have fired last")


@case("P4.2j", needs=DEDUPE, traits={"durable"}, alone=True)
async def remembered(bench: Bench) -> None:
    """What was announced, and which rules were replaced, survives that everything is closed and
    opened again: what was missed since the first sight is still known to be."""
    await announce(bench, "old")
    first = await announce(bench, "new")
    await bench.reopen(restart="restart" in bench.harness.traits)
    again = await announce(bench, "new")
    same((again.count, again.at), (2, first.at), "version and last slot")
    await announce(bench, "old", Did.CONFLICT)


@case("P4.2k", needs=DEDUPE | {Ability.DELAY, Ability.VIEW})
async def never_early(bench: Bench) -> None:
    """A slot that a scheduler puts too early, its clock being ahead, makes a task that waits."""
    begun = (await announce(bench, "a")).at
    task = fires(bench, begun + 3600)
    same((await put(bench, task)).put, Put.NEW, "a slot in an hour")
    await bench.sees(task, state=State.SCHEDULED)
    await (await bench.worker()).none("deliveries before the slot")
