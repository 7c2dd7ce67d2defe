"""E and J with real processes: one is killed, or stands still, and comes back too late."""

from __future__ import annotations

from xqueue_core.calls import Ability
from xqueue_core.conformance.bench import Bench
from xqueue_core.conformance.cases import case
from xqueue_core.conformance.check import between, holds, same
from xqueue_core.conformance.desk import Desk
from xqueue_core.conformance.process import Process

#: What these cases need of a backend and its harness.
REAL = {"shared", "spawn"}


def noticed(bench: Bench) -> float:
    """Seconds within which a dead worker of the shortest lease is acted upon."""
    return bench.short + (bench.harness.capabilities.failure_detection + 1.0) * bench.scale


@case("E50", traits=REAL, deadline=40.0)
async def killed(bench: Bench) -> None:
    """What a process held when it was killed (SIGKILL) is delivered to another within its lease
    and a little; its attempt is not charged."""
    tasks = await bench.submit_many(3)
    heir = await bench.worker("heir", lease=bench.short)
    async with Process.started(bench, bench.short) as victim:
        held = dict(await victim.does("take", 3))
        victim.kill()
        before = bench.clock()
        again = await heir.take(3, within=noticed(bench) / bench.scale)
    between(bench.clock() - before, 0.0, noticed(bench), "seconds until they were delivered")
    same(set(held), {task.id for task in tasks}, "tasks the killed process had")
    same({one.task.id for one in again}, set(held), "tasks delivered again")
    if Ability.FENCE in bench.harness.capabilities.abilities:
        holds(all(one.token > held[one.task.id] for one in again), "the tokens have grown")
    if Ability.ATTEMPTS in bench.harness.capabilities.abilities:
        same({(one.attempt, one.losses) for one in again}, {(1, 1)}, "attempts and losses")


@case("E51", needs={Ability.FENCE}, traits=REAL, deadline=40.0)
async def stood_still(bench: Bench) -> None:
    """A process that stood still (SIGSTOP) beyond its lease and goes on (SIGCONT) learns that
    its delivery is lost, and its late settle changes nothing."""
    await bench.submit()
    heir = await bench.worker("heir", lease=bench.short)
    async with Process.started(bench, bench.short) as victim:
        [[id, token]] = await victim.does("take", 1)
        await victim.stop()
        again = await heir.one(within=noticed(bench) / bench.scale)
        victim.go_on()
        same(await victim.does("settle"), ["lost"], "answer to the late settle")
        same(await victim.does("told"), ["lost"], "what its next heartbeat says")
    same(again.task.id, id, "task delivered again")
    holds(again.token > token, "the token has grown")
    await heir.ends(again)


@case("J100c", needs={Ability.LIMITS}, traits=REAL, deadline=40.0)
async def killed_holder(bench: Bench) -> None:
    """The permit of a process that was killed frees within its lease and a little, and one that
    stood still meanwhile is told that its permit is lost."""
    await bench.worker("bystander", lease=bench.short)
    heir = Desk(bench, "heir", lease=bench.short)
    await heir.limit("k", 2)
    async with (
        Process.started(bench, bench.short) as killed,
        Process.started(bench, bench.short) as stopped,
    ):
        await killed.does("acquire", "k")
        await stopped.does("acquire", "k")
        killed.kill()
        await stopped.stop()
        heir.live()
        await heir.gets("k", within=noticed(bench) / bench.scale)
        await heir.gets("k", within=noticed(bench) / bench.scale)
        stopped.go_on()
        same(await stopped.does("renew"), ["lost"], "what the late holder is told")
    same(await heir.holders("k"), sorted(heir.held), "holders in the end")


@case("J104b", needs={Ability.LIMITS, Ability.FENCE}, traits=REAL, deadline=40.0)
async def tokens_of_processes(bench: Bench) -> None:
    """The tokens of a key's permits grow from process to process, also when one was killed while
    it held a permit."""
    await bench.worker("bystander", lease=bench.short)
    desk = Desk(bench, "heir", lease=bench.short)
    await desk.limit("k", 1)
    tokens: list[int] = []
    for _ in range(2):
        async with Process.started(bench, bench.short) as victim:
            tokens.append(await victim.does("acquire", "k"))
            victim.kill()
        heart = desk.live()
        permit = await desk.gets("k", within=noticed(bench) / bench.scale)
        tokens.append(permit.token)
        await heart.stop()
        await desk.release(permit)
    same(tokens, sorted(set(tokens)), "tokens, which ought to grow")
