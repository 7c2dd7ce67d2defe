"""WHY: what is said of a task that a worker has."""

from __future__ import annotations

from xqueue_core.calls import Ability, Cancel, Did, Held, Want
from xqueue_core.conformance.asking import beats, registers, says
from xqueue_core.conformance.bench import Bench
from xqueue_core.conformance.cases import case
from xqueue_core.conformance.check import between, holds, same
from xqueue_core.conformance.groups.why_waiting import LEASES
from xqueue_core.task import Canceled, HandBack
from xqueue_core.why import CancelRequested, Ended, Lost, Overdue, Processing, Silent

VIEW = {Ability.VIEW}


@case("WHY18", needs=VIEW | {Ability.ATTEMPTS})
async def processing(bench: Bench) -> None:
    """Of a task that was leased it is told who has it, since when, and which attempt it is."""
    task = await bench.submit(max_retry=3)
    worker = await bench.worker()
    await worker.one()
    found = await says(bench, task, Processing)
    same((found.worker, found.attempt, found.attempts), (worker.id, 1, 4), "worker and attempt")
    between(found.seconds, 0.0, 5.0 * bench.scale, "seconds since it was leased")


@case("WHY19", needs=VIEW)
async def overdue(bench: Bench) -> None:
    """That a worker has a task for longer than its time-out is told; and if the worker says so,
    that its code cannot be stopped."""
    task = await bench.submit(process_timeout=0.2 * bench.scale)
    worker = await bench.worker()
    delivery = await worker.one()
    found = await says(bench, task, Overdue)
    same((found.worker, found.stuck), (worker.id, False), "worker, and whether it is stuck")
    between(found.over, 0.0, 5.0 * bench.scale, "seconds beyond the time-out")
    other = await bench.submit(process_timeout=60.0)
    id = await registers(bench, "stuck")
    [taken] = (await bench.queue.lease([Want("job", 1)], 1, 1, id, 1.0)).deliveries
    held = [Held(taken.task.id, taken.token)]
    await beats(bench, id, held, answered=1, overdue=[other.id])
    found = await says(bench, other, Overdue)
    same((found.worker, found.stuck), (id, True), "worker, and whether it is stuck")
    await worker.ends(delivery)


@case("WHY20", needs=VIEW | {Ability.ATTEMPTS}, deadline=60.0)
async def silent(bench: Bench) -> None:
    """A worker that is not heard of is told with the time until it counts as lost; then the task
    says that it was lost."""
    task = await bench.submit()
    await bench.worker("bystander", lease=LEASES * bench.short)
    victim = await bench.worker("victim", lease=LEASES * bench.short)
    await victim.one()
    await says(bench, task, Processing)
    await victim.die()
    found = await says(bench, task, Silent)
    same(found.worker, victim.id, "worker")
    between(found.lost_in, 0.0, LEASES * bench.short, "seconds until it counts as lost")
    holds(found.living >= 1, "the other one lives")
    after = await says(bench, task, Lost, first=False, within=20.0)
    same((after.losses, after.worker), (1, victim.id), "losses, and who died")


@case("WHY21", needs=VIEW | {Ability.CANCEL})
async def cancel_requested(bench: Bench) -> None:
    """A cancel that its worker has not obeyed yet is told, and then how the task ended."""
    task = await bench.submit()
    worker = await bench.worker()
    delivery = await worker.one()
    await bench.does(Cancel(task.id), Did.REQUESTED)
    same((await says(bench, task, CancelRequested)).worker, worker.id, "worker")
    await worker.ends(delivery, Canceled())
    same((await says(bench, task, Ended)).state.value, "canceled", "end")


@case("WHY22", needs=VIEW)
async def moves_on(bench: Bench) -> None:
    """What is said follows the task: waiting, taken, handed back, taken by another, ended."""
    task = await bench.submit()
    one, two = await bench.worker("one"), await bench.worker("two")
    await one.ends(await one.one(), HandBack())
    delivery = await two.one()
    same((await says(bench, task, Processing)).worker, two.id, "who has it")
    await two.ends(delivery)
    await says(bench, task, Ended)
