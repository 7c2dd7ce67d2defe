"""J: limits and permits. G6: none is granted above the limit."""

from __future__ import annotations

import anyio

from xqueue_core.calls import Ability
from xqueue_core.conformance.bench import Bench
from xqueue_core.conformance.cases import case
from xqueue_core.conformance.check import between, holds, same
from xqueue_core.conformance.desk import Desk
from xqueue_core.permits import Grant, Keep, Permit

LIMITS = {Ability.LIMITS}


@case("J98", needs=LIMITS, deadline=30.0, alone=True)
async def never_above(bench: Bench) -> None:
    """Under a storm from several processes no more permits are held than the limit, and every
    worker gets its turn."""
    desks = [Desk(bench, f"w{n}") for n in range(6)]
    desks[5].semaphore = (await bench.another()).needed("semaphore")
    await desks[0].limit("k", 3)
    held, most, turns = 0, 0, 0

    async def work(desk: Desk) -> None:
        nonlocal held, most, turns
        for _ in range(6):
            permit = await desk.gets("k", within=15.0)
            held += 1
            most = max(most, held)
            await anyio.sleep(0.002)
            held -= 1
            turns += 1
            await desk.release(permit)

    async with anyio.create_task_group() as group:
        for desk in desks:
            group.start_soon(work, desk)
    same((turns, most <= 3), (36, True), "turns, and whether at most 3 were held at once")
    same((await desks[0].holders("k")), [], "holders in the end")


@case("J99", needs=LIMITS)
async def release_wakes_one(bench: Bench) -> None:
    """A release gives the permit to one waiter, at once, and to no other."""
    desk = Desk(bench)
    await desk.limit("k", 1)
    permit = await desk.gets("k")
    first, second = desk.wish("k"), desk.wish("k")
    same([one.grant for one in await desk.ask(first, second)], [Grant.WAITING] * 2, "answers")
    await desk.release(permit)
    answers = await desk.ask(first, second, wait=2.0)
    same([one.grant for one in answers], [Grant.GRANTED, Grant.WAITING], "answers afterwards")


@case("J100", needs=LIMITS)
async def dead_holder(bench: Bench) -> None:
    """A dead holder's permit frees within its lease and a little."""
    await _keep_beating(bench)
    dead, heir = Desk(bench, "dead", lease=bench.short), Desk(bench, "heir", lease=bench.short)
    await dead.limit("k", 1)
    await dead.gets("k")
    heir.live()
    before = bench.clock()
    await heir.gets("k", within=bench.short + 3.0)
    bound = bench.short + (bench.harness.capabilities.failure_detection + 0.5) * bench.scale
    between(bench.clock() - before, 0.0, bound, "seconds until the permit was free")


@case("J100b", needs=LIMITS)
async def dead_holder_is_not_shown(bench: Bench) -> None:
    """An operator is not shown a dead holder: it goes within its lease and a little, although
    nobody asks for the key."""
    await _keep_beating(bench)
    dead, other = Desk(bench, "dead", lease=bench.short), Desk(bench, "other", lease=bench.short)
    await dead.limit("k", 1)
    await dead.gets("k")
    other.live()

    async def gone() -> bool:
        return await other.holders("k") == []

    bound = bench.short + bench.harness.capabilities.failure_detection * bench.scale
    await bench.until("the dead holder is not shown", gone, within=bound + 0.5)


@case("J101", needs=LIMITS)
async def expired_is_told(bench: Bench) -> None:
    """The holder of an expired permit learns LOST from ``renew``; its release frees nobody
    else's permit."""
    await _keep_beating(bench)
    late, heir = Desk(bench, "late", lease=bench.short), Desk(bench, "heir", lease=bench.short)
    await late.limit("k", 1)
    expired = await late.gets("k")
    heir.live()
    taken = await heir.gets("k")
    same((await late.renew(expired)).permits, [Keep.LOST], "what the late holder is told")
    await late.release(expired)
    same(await heir.holders("k"), [taken.id], "holders afterwards")


@case("J102", needs=LIMITS)
async def no_way_back(bench: Bench) -> None:
    """A holder whose permit expired cannot come back by renewing it, even if it is free."""
    await _keep_beating(bench)
    late, other = Desk(bench, "late", lease=bench.short), Desk(bench, "other", lease=bench.short)
    await late.limit("k", 1)
    expired = await late.gets("k")
    other.live()
    await other.release(await other.gets("k"))
    for _ in range(3):
        same((await late.renew(expired)).permits, [Keep.LOST], "what the late holder is told")
    same(await other.holders("k"), [], "holders")
    await other.gets("k", within=1.0)


@case("J103", needs=LIMITS)
async def same_request(bench: Bench) -> None:
    """Asking again by the same request's id returns the same permit and takes no second one."""
    desk = Desk(bench)
    await desk.limit("k", 2)
    wish = desk.wish("k")
    first, again = (await desk.ask(wish))[0], (await desk.ask(wish))[0]
    same((first.grant, again.grant), (Grant.GRANTED, Grant.GRANTED), "answers")
    same(again.token, first.token, "token")
    same(await desk.holders("k"), [wish.id], "holders")


@case("J104", needs=LIMITS | {Ability.FENCE}, alone=True)
async def tokens_grow(bench: Bench) -> None:
    """The tokens of a key's permits grow, also when everything was closed meanwhile."""
    desk = Desk(bench)
    await desk.limit("k", 1)
    tokens = []
    for n in range(5):
        if n == 3 and bench.harness.capabilities.durable:
            await bench.reopen(restart="restart" in bench.harness.traits)
            desk = Desk(bench)
        permit = await desk.gets("k")
        tokens.append(permit.token)
        await desk.release(permit)
    same(tokens, sorted(set(tokens)), "tokens, which ought to grow")


@case("J105", needs=LIMITS)
async def first_come(bench: Bench) -> None:
    """Waiters are served first come, first served, and know their place in line."""
    desk = Desk(bench)
    await desk.limit("k", 1)
    permit = await desk.gets("k")
    line = [desk.wish("k") for _ in range(4)]
    for place, wish in enumerate(line, 1):
        same((await desk.ask(wish))[0].place, place, "place of a newcomer")
    while line:
        await desk.release(permit)
        answers = await desk.ask(*line, wait=2.0)
        same(answers[0].grant, Grant.GRANTED, "answer to the first in line")
        same([one.place for one in answers[1:]], list(range(1, len(line))), "places behind it")
        permit = Permit(line[0].id, "k", answers[0].token)
        line.pop(0)


@case("J106", needs=LIMITS)
async def withdrawn(bench: Bench) -> None:
    """A waiter that withdrew is never granted a permit."""
    desk = Desk(bench)
    await desk.limit("k", 1)
    permit = await desk.gets("k")
    gone, stays = desk.wish("k"), desk.wish("k")
    await desk.ask(gone, stays)
    await desk.release(Permit(gone.id, "k"))
    await desk.release(permit)
    same((await desk.ask(stays, wait=2.0))[0].grant, Grant.GRANTED, "answer to the one behind it")
    same(await desk.holders("k"), [stays.id], "holders")


@case("J107", needs=LIMITS)
async def limit_changes(bench: Bench) -> None:
    """A raised limit lets waiters in; a lowered one takes no permit away and grants none until
    enough were given back; no limit means no permit is needed."""
    desk = Desk(bench)
    same((await desk.ask(desk.wish("k")))[0].grant, Grant.FREE, "answer without a limit")
    await desk.limit("k", 1)
    held = [await desk.gets("k")]
    second, third = desk.wish("k"), desk.wish("k")
    await desk.ask(second, third)
    await desk.limit("k", 3)
    answers = await desk.ask(second, third, wait=2.0)
    same([one.grant for one in answers], [Grant.GRANTED] * 2, "answers after raising")
    held += [
        Permit(wish.id, "k", answer.token)
        for wish, answer in zip((second, third), answers, strict=True)
    ]
    await desk.limit("k", 1)
    same(len(await desk.holders("k")), 3, "holders after lowering")
    fourth = desk.wish("k")
    for n, permit in enumerate(held):
        same((await desk.ask(fourth))[0].grant, Grant.WAITING, f"answer after {n} were given back")
        await desk.release(permit)
    same((await desk.ask(fourth, wait=2.0))[0].grant, Grant.GRANTED, "answer after all were")
    await desk.limit("k", None)
    same((await desk.ask(desk.wish("k")))[0].grant, Grant.FREE, "answer after removing it")


@case("J108", needs=LIMITS)
async def keys_apart(bench: Bench) -> None:
    """Keys have limits of their own; one that is not used any more shows nothing."""
    desk = Desk(bench)
    await desk.limit("a", 1)
    await desk.limit("b", 2)
    wishes = [desk.wish(key) for key in ("a", "a", "b", "b", "b")]
    grants = [one.grant for one in await desk.ask(*wishes)]
    yes, no = Grant.GRANTED, Grant.WAITING
    same(grants, [yes, no, yes, yes, no], "answers")
    await desk.release(*(Permit(wish.id, wish.key) for wish in wishes))
    for info in await desk.semaphore.inspect(["a", "b", "never"]):
        same((info.holders, info.waiters), ({}, []), f"who holds or awaits {info.key}")


@case("J109", needs=LIMITS)
async def saturated_lane(bench: Bench) -> None:
    """A saturated key does not hold up another: asking for both answers at once."""
    desk = Desk(bench)
    await desk.limit("full", 1)
    await desk.limit("free", 1)
    await desk.gets("full")
    before = bench.clock()
    answers = await desk.ask(desk.wish("full"), desk.wish("free"), wait=3.0)
    same([one.grant for one in answers], [Grant.WAITING, Grant.GRANTED], "answers")
    between(bench.clock() - before, 0.0, 1.0 * bench.scale, "seconds until they came")
    await bench.submit_many(5, "full")
    other = await bench.submit("free")
    worker = await bench.worker()
    same((await worker.one("free")).task.id, other.id, "task of the other lane")


@case("J110", needs=LIMITS)
async def waits_quietly(bench: Bench) -> None:
    """``acquire`` waits its whole time when nothing is granted: nobody need ask in a loop."""
    desk = Desk(bench)
    await desk.limit("k", 1)
    await desk.gets("k")
    before = bench.clock()
    answer = (await desk.ask(desk.wish("k"), wait=0.4))[0]
    same((answer.grant, answer.place), (Grant.WAITING, 1), "answer")
    between(bench.clock() - before, 0.3, 0.4 + 2.0 * bench.scale, "seconds it waited")
    denied = (await desk.ask(desk.wish("k", queue=False), wait=2.0))[0]
    same(denied.grant, Grant.DENIED, "answer to one that does not want to queue")


@case("J111", needs=LIMITS)
async def all_die(bench: Bench) -> None:
    """When every holder dies and nobody new comes, those who wait are served all the same."""
    await _keep_beating(bench)
    dead = [Desk(bench, f"dead{n}", lease=bench.short) for n in range(3)]
    waiter = Desk(bench, "waiter", lease=bench.short)
    await waiter.limit("k", 3)
    for desk in dead:
        await desk.gets("k")
    waiter.live()
    waiting = bench.start(waiter.gets, "k")
    await waiting.done()
    holds(waiting.result.token > 0, "the waiter got a permit")


@case("J112", needs=LIMITS | {Ability.FENCE})
async def foreign_release(bench: Bench) -> None:
    """A release of an unknown permit, or with another's token, frees nothing."""
    desk, other = Desk(bench), Desk(bench, "other")
    await desk.limit("k", 1)
    permit = await desk.gets("k")
    await other.release(Permit("nobody's", "k", permit.token), Permit(permit.id, "k", 10**9))
    same(await desk.holders("k"), [permit.id], "holders")
    await desk.release(permit, permit)
    await desk.release(permit)
    same(await desk.holders("k"), [], "holders after the release, repeated")


@case("J113", needs=LIMITS)
async def again_after_expiry(bench: Bench) -> None:
    """A worker whose permit expired gets one by asking anew, with a greater token."""
    await _keep_beating(bench)
    desk, other = Desk(bench, "late", lease=bench.short), Desk(bench, "other", lease=bench.short)
    await desk.limit("k", 1)
    expired = await desk.gets("k")
    other.live()
    await other.release(await other.gets("k"))
    again = await desk.gets("k")
    holds(again.token > expired.token, "the new permit's token is greater")


@case("J114", needs=LIMITS)
async def canceled_wish(bench: Bench) -> None:
    """A call of ``acquire`` that was cancelled, however early, and whose requests were withdrawn
    after it had ended leaves no holder and no waiter."""
    desk = Desk(bench)
    await desk.limit("k", 2)
    await desk.renew()
    wishes = []
    for n in range(40):
        mine = [desk.wish("k"), desk.wish("k")]
        wishes += mine
        with anyio.move_on_after(n * 0.0002 * bench.scale):
            await desk.ask(*mine, wait=1.0)
        await desk.release(*(Permit(wish.id, wish.key) for wish in mine))
    await desk.release(await desk.gets("k"))
    info = (await desk.semaphore.inspect(["k"]))[0]
    same((info.holders, info.waiters), ({}, []), "who holds or awaits the key")


async def _keep_beating(bench: Bench) -> None:
    """A worker that lives, so that time in which somebody could renew goes on (P1.4)."""
    await bench.worker("bystander", lease=bench.short)
