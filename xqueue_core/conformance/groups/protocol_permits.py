"""P3.1 to P3.3: the line for permits, what renewing tells, limits that change."""

from __future__ import annotations

import anyio

from xqueue_core.calls import Ability, Want
from xqueue_core.conformance.bench import Bench
from xqueue_core.conformance.cases import case
from xqueue_core.conformance.check import between, holds, one_of, same
from xqueue_core.conformance.desk import Desk
from xqueue_core.conformance.worker import Worker
from xqueue_core.permits import Grant, Keep, Permit, Request

LIMITS = {Ability.LIMITS}

#: Seconds within which a change of a limit is effective, and a waiter's wish felt (P3.2).
SOON = 1.0


@case("P3.1a", needs=LIMITS)
async def passes_on(bench: Bench) -> None:
    """A grant to a waiter that does not ask again within 2 s passes on to the next one."""
    desk = Desk(bench)
    await desk.limit("k", 1)
    permit = await desk.gets("k")
    gone, next_one = desk.wish("k"), desk.wish("k")
    await desk.ask(gone, next_one)
    await desk.release(permit)
    same((await desk.ask(next_one))[0].grant, Grant.WAITING, "answer while it is another's")
    before = bench.clock()
    await _granted(desk, next_one, within=5.0)
    between(bench.clock() - before, 1.5, 2.0 + 1.5 * bench.scale, "seconds until it passed on")
    same(await desk.holders("k"), [next_one.id], "holders")


@case("P3.1b", needs=LIMITS)
async def taken_up(bench: Bench) -> None:
    """A grant that was taken up is kept, without asking again, for its whole lease."""
    desk = Desk(bench)
    await desk.limit("k", 1)
    permit = await desk.gets("k")
    taker, behind = desk.wish("k"), desk.wish("k")
    await desk.ask(taker, behind)
    await desk.release(permit)
    same((await desk.ask(taker, wait=1.0))[0].grant, Grant.GRANTED, "answer to the first")
    await bench.passes(2.5)
    same((await desk.ask(behind))[0].grant, Grant.WAITING, "answer to the one behind it")
    same(await desk.holders("k"), [taker.id], "holders")


@case("P3.1c", needs=LIMITS)
async def wakes_across_processes(bench: Bench) -> None:
    """A waiter in another process is woken by a release, well before its wait is over."""
    desk, other = Desk(bench), Desk(bench, "other")
    other.semaphore = (await bench.another()).needed("semaphore")
    await desk.limit("k", 1)
    permit = await desk.gets("k")
    wish = other.wish("k")
    waiting = bench.start(other.semaphore.acquire, [wish], 5.0)
    await anyio.sleep(0.2)
    before = bench.clock()
    await desk.release(permit)
    answers = await waiting.done()
    same(answers[0].grant, Grant.GRANTED, "answer")
    between(bench.clock() - before, 0.0, 1.0 * bench.scale, "seconds until it was woken")


@case("P3.1d", needs=LIMITS)
async def cancelled_wait(bench: Bench) -> None:
    """Cancelling a waiting ``acquire`` keeps the place in line: asking again finds it."""
    desk = Desk(bench)
    await desk.limit("k", 1)
    permit = await desk.gets("k")
    first, second = desk.wish("k"), desk.wish("k")
    with anyio.move_on_after(0.1):
        await desk.ask(first, wait=5.0)
    same((await desk.ask(second))[0].place, 2, "place of a newcomer")
    same((await desk.ask(first))[0].place, 1, "place of the one whose call was cancelled")
    await desk.release(permit)
    same((await desk.ask(first, wait=1.0))[0].grant, Grant.GRANTED, "answer to the first")


@case("P3.2a", needs=LIMITS)
async def lowering_asks_to_yield(bench: Bench) -> None:
    """When a limit is lowered, holders beyond it are told YIELD within a second, and none LOST."""
    desk = Desk(bench)
    await desk.limit("k", 3)
    permits = [await desk.gets("k") for _ in range(3)]
    same((await desk.renew(*permits)).permits, [Keep.KEPT] * 3, "what holders are told before")
    await desk.limit("k", 1)

    async def two_yield() -> bool:
        told = (await desk.renew(*permits)).permits
        holds(Keep.LOST not in told, "lowering a limit takes no permit away")
        return told.count(Keep.YIELD) >= 2

    await bench.until("two holders are told YIELD", two_yield, within=SOON + 0.5)


@case("P3.2b", needs=LIMITS)
async def a_waiter_is_felt(bench: Bench) -> None:
    """A holder is told YIELD once another worker has queued for more than a second, not by its
    own wishes, and not when the waiter has gone."""
    holder, other = Desk(bench, "holder"), Desk(bench, "other")
    await holder.limit("k", 1)
    permit = await holder.gets("k")
    await holder.ask(holder.wish("k"))
    wish = other.wish("k")
    await other.ask(wish)
    same((await holder.renew(permit)).permits, [Keep.KEPT], "what the holder is told at first")
    waiting = bench.start(other.semaphore.acquire, [wish], 10.0)

    async def yields() -> bool:
        return (await holder.renew(permit)).permits == [Keep.YIELD]

    await bench.until("the holder is told YIELD", yields, within=1.0 + SOON + 0.5)
    await waiting.stop()
    await other.release(Permit(wish.id, "k"))
    same((await holder.renew(permit)).permits, [Keep.KEPT], "what it is told afterwards")


@case("P3.2c", needs=LIMITS)
async def running_counts(bench: Bench) -> None:
    """Work that ran before the limit was seen is granted above it, counts, and drains: nothing
    else is granted until there is room."""
    desk, other = Desk(bench), Desk(bench, "other")
    await desk.limit("k", 1)
    running = [desk.wish("k", running=True) for _ in range(3)]
    answers = await desk.ask(*running)
    same([one.grant for one in answers], [Grant.GRANTED] * 3, "answers for running work")
    wish = other.wish("k")
    for request, answer in zip(running, answers, strict=True):
        same((await other.ask(wish))[0].grant, Grant.WAITING, "answer to other work")
        await desk.release(Permit(request.id, "k", answer.token))
    same((await other.ask(wish, wait=1.0))[0].grant, Grant.GRANTED, "answer when all has drained")


@case("P3.2d", needs=LIMITS)
async def versions(bench: Bench) -> None:
    """``renew`` tells the version of each watched key's limit, with or without permits: 0 if it
    has none, another one after each change."""
    desk = Desk(bench)
    seen: list[int] = []
    for limit in (None, 5, 2, 7):
        if limit is not None:
            await desk.limit("k", limit)
        told = await bench.until(
            "the version changes",
            lambda: _version(desk, "k", seen),
            within=SOON + 0.5,
        )
        seen.append(told[0])
    same(seen[0], 0, "version without a limit")
    same(len(set(seen)), 4, f"number of different versions among {seen}")
    [shown] = await desk.semaphore.inspect(["k"])
    same(shown.version, seen[-1], "version that inspect shows")
    await desk.limit("k", None)
    versions = (await desk.renew(watch=("k", "never"))).versions
    same(versions, {"k": 0, "never": 0}, "versions without limits")


@case("P3.2e", needs=LIMITS)
async def operator_wins(bench: Bench) -> None:
    """The operator's limit stands above what workers declare, before or after it, until it is
    removed; then the last declared one counts."""
    desk = Desk(bench)
    await desk.limit("k", 5, pinned=False)
    await desk.limit("k", 1)
    await desk.limit("k", 3, pinned=False)
    same(await _shown(desk, "k"), (1, True), "limit, and whether it is pinned")
    wishes = [desk.wish("k", queue=False) for _ in range(4)]
    grants = [one.grant for one in await desk.ask(*wishes)]
    same(grants, [Grant.GRANTED] + [Grant.DENIED] * 3, "answers under the operator's limit")
    await desk.limit("k", None)
    same(await _shown(desk, "k"), (3, False), "limit after the operator removed his")
    grants = [one.grant for one in await desk.ask(*wishes[1:])]
    same(grants, [Grant.GRANTED] * 2 + [Grant.DENIED], "answers under the declared limit")
    await desk.limit("k", None, pinned=False)
    same((await desk.ask(desk.wish("k")))[0].grant, Grant.FREE, "answer without any limit")


@case("P3.2f", needs=LIMITS)
async def limit_of_a_key(bench: Bench) -> None:
    """A request may carry its key's limit: of those that did, the task accepted last wins,
    unless the operator set one."""
    desk = Desk(bench)
    options = {"queue": False}
    first = await desk.ask(desk.wish("k", limit=1, stamp=10.0, **options))
    same(first[0].grant, Grant.GRANTED, "answer under limit 1")
    answers = await desk.ask(
        desk.wish("k", limit=2, stamp=20.0, **options),
        desk.wish("k", limit=9, stamp=15.0, **options),
    )
    same([one.grant for one in answers], [Grant.GRANTED, Grant.DENIED], "answers under limit 2")
    same(await _shown(desk, "k"), (2, False), "limit shown")
    await desk.limit("k", 3)
    answers = await desk.ask(
        *(desk.wish("k", limit=50, stamp=30.0 + n, **options) for n in range(2))
    )
    grants = [one.grant for one in answers]
    same(grants, [Grant.GRANTED, Grant.DENIED], "answers under the operator's limit 3")


@case("P3.2g", needs=LIMITS, deadline=90.0)
async def nobody_knows_of_it(bench: Bench) -> None:
    """A permit that its living worker leaves out of its renewals expires, if others want it,
    after a lease of them, or 10 s of a short one, and not before; one that is named is kept."""
    lease = 5 * bench.short
    desk, other = Desk(bench, "desk", lease=lease), Desk(bench, "other", lease=lease)
    await desk.limit("known", 1)
    await desk.limit("unknown", 1)
    kept = await desk.gets("known")
    await desk.ask(desk.wish("unknown"))  # and the answer is lost
    wishes = other.wish("known"), other.wish("unknown")
    step, answers, passed = lease / 10, await other.ask(*wishes), 0.0
    begun = anyio.current_time()
    while answers[1].grant is not Grant.GRANTED:
        holds(passed < 30.0 + 5 * lease, f"it has expired after {passed:g} s of renewals")
        await bench.passes(step)
        passed += step
        holds((await desk.renew(kept)).permits != [Keep.LOST], "what is named is not lost")
        await other.renew()
        answers = await other.ask(*wishes)
        same(answers[0].grant, Grant.WAITING, "answer to who wants the one that is named")
    # The calls take their time as well, be it with a clock that is moved or without.
    passed = max(passed, anyio.current_time() - begun)
    holds(passed >= max(lease, 10.0), f"it did not expire before: after {passed:g} s")


@case("P3.2h", needs=LIMITS, deadline=60.0)
async def slow_beats(bench: Bench) -> None:
    """A dead holder's permit frees within its lease, and not before, also where the only living
    worker renews as seldom as it may: every half of a quarter of its lease."""
    lease = 18.0  # a quarter of which is far more than a second
    dead, heir = Desk(bench, "dead", lease=lease), Desk(bench, "heir", lease=lease)
    dead.heartbeat = heir.heartbeat = lease / 4
    await dead.limit("k", 1)
    await heir.renew()
    await dead.renew(await dead.gets("k"))
    wish, step, passed = heir.wish("k"), lease / 8, 0.0
    while (await heir.ask(wish))[0].grant is not Grant.GRANTED:
        holds(passed <= lease + 2 * step, f"it is free after {passed:g} s")
        await bench.passes(step)
        passed += step
        await heir.renew()
    holds(passed >= lease - step, f"it was not free before: after {passed:g} s")


@case("P3.2i", needs=LIMITS)
async def unused_first(bench: Bench) -> None:
    """Where another worker has queued for long, its holders are told YIELD first of a permit
    under which nothing has run for more than a second, in whichever worker, and of one for each
    wish alone; permits in use are kept as long as such ones of the same worker do."""
    busy, holder, other = Desk(bench, "busy"), Desk(bench, "holder"), Desk(bench, "other")
    await busy.limit("k", 4)
    oldest, *held = await busy.gets("k"), *[await holder.gets("k") for _ in range(3)]
    wish = other.wish("k")
    waiting = bench.start(other.semaphore.acquire, [wish], 10.0)
    used, fresh, unused = held[0], _unused(held[1], 0.5), _unused(held[2], 1.5)

    async def yields() -> bool:
        return (await busy.renew(oldest)).permits == [Keep.YIELD]

    await bench.until("the longest holder is told YIELD", yields, within=1.0 + SOON + 0.5)
    told = (await holder.renew(used, fresh, unused)).permits
    same(told, [Keep.KEPT, Keep.KEPT, Keep.YIELD], "what is told of those used and of one unused")
    told = (await holder.renew(*(_unused(one, 60.0) for one in held))).permits
    same(told, [Keep.YIELD, Keep.KEPT, Keep.KEPT], "what is told where all are unused")
    await waiting.stop()
    await other.release(Permit(wish.id, "k"))
    told = (await holder.renew(used, fresh, unused)).permits
    same(told, [Keep.KEPT] * 3, "what is told when nobody waits")


@case("P3.2j", needs=LIMITS)
async def lowered_unheard(bench: Bench) -> None:
    """A grant tells the version of the limit, as renewals do. Permits that were granted before
    the limit was lowered below their number are answered with YIELD when asked for again, the
    latest first; once it is raised they are kept."""
    desk = Desk(bench, "desk")
    await desk.limit("k", 3)
    wishes = [desk.wish("k") for _ in range(3)]
    await desk.ask(*wishes)  # and the answer is lost
    for limit, above in ((3, 0), (1, 2), (2, 1), (3, 0)):
        await desk.limit("k", limit)
        answers = await desk.ask(*wishes)
        same([one.grant for one in answers], [Grant.GRANTED] * 3, f"answers under limit {limit}")
        keeps = [Keep.KEPT] * (3 - above) + [Keep.YIELD] * above
        same([one.keep for one in answers], keeps, f"what is told of each under limit {limit}")
        version = (await desk.renew(watch=("k",))).versions["k"]
        told = {one.version for one in answers}
        same(told, {version}, f"versions that the answers tell under limit {limit}")
    await desk.limit("k", None)
    answers = await desk.ask(*wishes, desk.wish("k"))
    same([one.keep for one in answers], [Keep.KEPT] * 4, "what is told without a limit")
    same([one.version for one in answers], [0] * 4, "versions that are told without a limit")


@case("P3.3a")
async def only_woken(bench: Bench) -> None:
    """Wanting 0 of a lane delivers nothing, and names the lane when it has work: at once, or
    when work comes."""
    worker = await bench.worker()
    wants = [Want("a", 0), Want("b", 0)]
    bench.lanes |= {"a": None, "b": None}
    same((await worker.ask(wants, 10)).ready, [], "lanes ready without work")
    waiting = bench.start(_ready, worker, wants)
    await anyio.sleep(0.1)
    task = await bench.submit("a")
    same(await waiting.done(), (0, ["a"]), "deliveries, and lanes ready when work came")
    got = await worker.ask([Want("a", 5), Want("b", 0)], 10, wait=1.0)
    same([one.task.id for one in got.deliveries], [task.id], "deliveries to a want above 0")
    one_of(got.ready, ([], ["a"]), "lanes ready, of which b has no work")


async def _ready(worker: Worker, wants: list[Want]) -> tuple[int, list[str]]:
    got = await worker.ask(wants, 10, wait=5.0)
    return len(got.deliveries), got.ready


def _unused(permit: Permit, seconds: float) -> Permit:
    """The permit as its worker tells it that has not used it for so long."""
    return Permit(permit.id, permit.key, permit.token, idle=seconds)


async def _granted(desk: Desk, wish: Request, within: float) -> None:
    async def granted() -> bool:
        return (await desk.ask(wish))[0].grant is Grant.GRANTED

    await desk.bench.until(f"{wish.id} is granted", granted, within=within)


async def _version(desk: Desk, key: str, seen: list[int]) -> list[int]:
    version = (await desk.renew(watch=(key,))).versions[key]
    return [] if version in seen else [version]


async def _shown(desk: Desk, key: str) -> tuple[int | None, bool]:
    info = (await desk.semaphore.inspect([key]))[0]
    same(info.key, key, "key of the answer")
    return info.limit, info.pinned
