"""P1.1, P1.2: the three numbers of a delivery, and calls whose answer was lost."""

from __future__ import annotations

import anyio

from xqueue_core.calls import (
    Ability,
    Beat,
    Cancel,
    Delivery,
    Held,
    Hold,
    Replay,
    Settled,
    Unpark,
    Want,
)
from xqueue_core.conformance.bench import OOPS, Bench
from xqueue_core.conformance.cases import case
from xqueue_core.conformance.check import Broken, holds, same
from xqueue_core.conformance.worker import LONG
from xqueue_core.errors import LeaseLost, Refused
from xqueue_core.task import HandBack, Parked, RetryAt, State

ATTEMPTS = {Ability.ATTEMPTS}
FENCE = {Ability.FENCE}


@case("P1.1a", needs=FENCE | {Ability.VIEW})
async def tokens_grow(bench: Bench) -> None:
    """A task's token grows with every lease: after a hand-back, a retry and a replay, by
    whichever worker."""
    task = await bench.submit(max_retry=1)
    workers = [await bench.worker(), await bench.worker("other")]
    tokens: list[int] = []
    for n, outcome in enumerate((HandBack(), RetryAt(0.0, OOPS), RetryAt(0.0, OOPS), None)):
        if n == 3:
            await bench.does(Replay(task.id, "wish"))
        delivery = await workers[n % 2].one()
        tokens.append(delivery.token)
        await workers[n % 2].ends(delivery, outcome)
    same(tokens, sorted(set(tokens)), "tokens, which ought to grow")


@case("P1.1b", needs=ATTEMPTS)
async def given_back(bench: Bench) -> None:
    """An attempt is charged at lease and given back on park and on hand-back before the start,
    however often."""
    limits = Ability.LIMITS in bench.harness.capabilities.abilities
    await bench.submit(max_retry=9, key="k" if limits else None)
    worker = await bench.worker()
    for _ in range(3):
        delivery = await worker.one()
        same(delivery.attempt, 1, "attempt")
        await worker.ends(delivery, HandBack())
    for _ in range(3 if limits else 0):
        delivery = await worker.one()
        same(delivery.attempt, 1, "attempt")
        await worker.ends(delivery, Parked())
        await bench.does(Unpark("job", "k", 1))
    same((await worker.one()).attempt, 1, "attempt in the end")


@case("P1.1c", needs=ATTEMPTS)
async def running_keeps_its_charge(bench: Bench) -> None:
    """A hand-back of running work keeps its charge, except on the last attempt: a hand-back
    never ends a task."""
    await bench.submit(max_retry=2)
    worker = await bench.worker()
    for expected in (1, 2, 3, 3, 3):
        delivery = await worker.one()
        same(delivery.attempt, expected, "attempt")
        await worker.ends(delivery, HandBack(ran=True))
    same((await worker.one()).attempt, 3, "attempt of what may be tried three times")


@case("P1.1d", needs=ATTEMPTS | {Ability.VIEW})
async def third_loss(bench: Bench) -> None:
    """Losses are counted apart from attempts; the third makes the task failed, reason
    ``worker_lost``."""
    task = await bench.submit()
    await bench.worker("bystander", lease=bench.short)
    for losses in (0, 1, 2):
        victim = await bench.worker(f"victim{losses}", lease=bench.short)
        delivery = await victim.one()
        same((delivery.attempt, delivery.losses), (1, losses), "attempt and losses")
        await victim.die()
    info = await bench.sees(task, state=State.FAILED, reason="worker_lost", losses=3)
    same([one.how for one in info.history], ["lost"] * 3, "how each delivery ended")


@case("P1.1e", needs=ATTEMPTS | FENCE | {Ability.VIEW})
async def replay_resets(bench: Bench) -> None:
    """A replay resets attempt and losses, and never the token."""
    task = await bench.submit(max_retry=1)
    await bench.worker("bystander", lease=bench.short)
    victim = await bench.worker("victim", lease=bench.short)
    await victim.one()
    await victim.die()
    worker = await bench.worker("w", lease=bench.short)
    token = 0
    for expected in ((1, 1), (2, 1)):
        delivery = await worker.one()
        same((delivery.attempt, delivery.losses), expected, "attempt and losses")
        await worker.ends(delivery, RetryAt(0.0, OOPS))
        token = delivery.token
    await bench.does(Replay(task.id, "wish"))
    again = await worker.one()
    same((again.attempt, again.losses), (1, 0), "attempt and losses after the replay")
    holds(again.token > token, "the token grows over a replay")


@case("P1.1f", needs=ATTEMPTS | FENCE | {Ability.VIEW})
async def waits_uncharged(bench: Bench) -> None:
    """A delivery of which its dead worker's last heartbeat said that it waits is handed back in
    front, as no loss; once a heartbeat did not say so it is a loss."""
    task = await bench.submit()
    await bench.submit()
    await bench.worker("bystander", lease=bench.short)
    tokens = []
    for name, words, losses in (("waits", (True,), 0), ("starts", (True, False), 1)):
        victim = await bench.worker(name, lease=bench.short)
        delivery = await victim.one()
        same(delivery.task.id, task.id, "the task in front")
        same((delivery.attempt, delivery.losses), (1, 0), "attempt and losses")
        tokens.append(delivery.token)
        await victim.die()
        for waits in words:
            reply = await victim.beat([Held(task.id, delivery.token, waits)])
            same(reply.held, [Hold.KEPT], "answer to the heartbeat")
        await bench.sees(task, state=State.PENDING, attempt=0, losses=losses)
        same(await victim.settle(delivery), Settled.LOST, "settle by a worker given up")
    holds(tokens[1] > tokens[0], "the token grows")
    info = await bench.sees(task, state=State.PENDING)
    same([one.how for one in info.history], ["handback", "lost"], "how each delivery ended")


@case("P1.1g", needs=ATTEMPTS | FENCE | {Ability.VIEW})
async def overtaken_word(bench: Bench) -> None:
    """A heartbeat overtaken by a later one does not bring back that a delivery waits."""
    task = await bench.submit()
    await bench.worker("bystander", lease=bench.short)
    victim = await bench.worker("victim", lease=bench.short)
    delivery = await victim.one()
    await victim.die()
    for number, waits in ((1, True), (3, False), (2, True)):
        await victim.beat([Held(task.id, delivery.token, waits)], number=number)
    await bench.sees(task, state=State.PENDING, losses=1)


@case("P1.2a")
async def lost_answer(bench: Bench) -> None:
    """Repeating a call number returns the deliveries whose answer was lost, and no others."""
    await bench.submit_many(5)
    worker, other = await bench.worker(), await bench.worker("other")
    lost = await worker.lease(3, wait=1.0, lost=True)
    for _ in range(2):
        again = await worker.lease(3, wait=1.0, lost=True)
        same(_names(again), _names(lost), "deliveries of the repeated number")
    same(len(await other.take(2)), 2, "deliveries left for others")
    for delivery in await worker.lease(3, wait=1.0):
        await worker.ends(delivery)
    await worker.none("deliveries of the next number")


@case("P1.2b")
async def lower_number(bench: Bench) -> None:
    """A call number below the last one is refused: it is an echo of the past."""
    await bench.submit_many(4)
    worker = await bench.worker()
    await worker.take(1)
    await worker.take(1)
    try:
        got = await bench.queue.lease([Want("job", 1)], 1, worker.answered - 1, worker.id, 0.0)
    except Refused:
        pass
    else:
        raise Broken(f"a lower call number was answered with {got}")
    same(len(await worker.take(2)), 2, "deliveries afterwards")


@case("P1.2c")
async def changed_wants(bench: Bench) -> None:
    """A number may be repeated with other wants: what was taken under it wins; if nothing was,
    the new wants count."""
    task = await bench.submit("a")
    worker = await bench.worker()
    lost = await worker.lease(1, "a", wait=1.0, lost=True)
    await bench.submit("b")
    same(_names(await worker.lease(1, "b")), _names(lost), "answer to the changed wants")
    same(lost[0].task.id, task.id, "task delivered")
    with anyio.move_on_after(0.1):
        await worker.lease(1, "a", wait=5.0)
    got = await worker.lease(1, "b", wait=1.0)
    same([one.task.lane for one in got], ["b"], "lanes delivered after a cancelled call")


@case("P1.2d")
async def unheld_is_handed_back(bench: Bench) -> None:
    """What the backend holds for a worker at or below ``answered`` and is not in its held set is
    handed back, uncharged; what was leased by a later call stays."""
    first = await bench.submit("a")
    worker, other = await bench.worker(), await bench.worker("other")
    dropped = await worker.one("a")
    second = await bench.submit("b")
    await worker.lease(1, "b", wait=1.0, lost=True)  # its answer is lost
    await worker.beat([])
    again = await other.one("a", within=2.0)
    same((again.task.id, again.attempt), (first.id, dropped.attempt), "task handed back")
    await other.none("deliveries of what a later call took", "b")
    repeated = await worker.lease(1, "b", wait=1.0)
    same([one.task.id for one in repeated], [second.id], "answer to the repeated number")


@case("P1.2e")
async def empty_is_not_recorded(bench: Bench) -> None:
    """An empty answer is not recorded: repeating its number takes what has come since."""
    worker = await bench.worker()
    same(await worker.lease(lost=True), [], "deliveries before there is work")
    task = await bench.submit()
    got = await worker.lease(wait=1.0)
    same([one.task.id for one in got], [task.id], "deliveries of the repeated number")


@case("P1.2f", needs=FENCE)
async def no_longer_current(bench: Bench) -> None:
    """Repeating a number leaves out deliveries that are no longer current."""
    await bench.submit_many(3)
    worker = await bench.worker()
    one, two, three = await worker.lease(3, wait=1.0, lost=True)
    await worker.ends(two)
    again = await worker.lease(3)
    same(_names(again), _names([one, three]), "deliveries of the repeated number")


@case("P1.2g")
async def strangers(bench: Bench) -> None:
    """A worker that never registered, or that was declared dead, cannot lease."""
    await bench.submit()
    heir = await bench.worker("heir", lease=bench.short)
    victim = await bench.worker("victim", lease=bench.short)
    await victim.one()
    await victim.die()
    await heir.one()
    for id, call in (("stranger~0", 1), (victim.id, victim.call + 1)):
        try:
            got = await bench.queue.lease([Want("job", 1)], 1, call, id, 0.0)
        except LeaseLost:
            continue
        raise Broken(f"{id}, which is not a living worker, was answered with {got}")


@case("P1.2h", needs=FENCE)
async def what_a_beat_says(bench: Bench) -> None:
    """A heartbeat says KEPT of what is held, and LOST of another's delivery, of one that was
    settled, and of one that never was, each in its place."""
    await bench.submit_many(3)
    worker, other = await bench.worker(), await bench.worker("other")
    kept, settled = await worker.take(2)
    foreign = await other.one()
    same(await worker.settle(settled), Settled.APPLIED, "answer to the settle")
    held = [(settled.task.id, settled.token), (kept.task.id, kept.token)]
    held += [(foreign.task.id, foreign.token), ("job:nobody", 1), (kept.task.id, kept.token + 1)]
    reply = await worker.beat([Held(*one) for one in held])
    expected = [Hold.LOST, Hold.KEPT, Hold.LOST, Hold.LOST, Hold.LOST]
    same(reply.held, expected, "what the heartbeat says")
    await worker.ends(kept)
    await other.ends(foreign)


@case("P1.2i", needs={Ability.CANCEL})
async def canceled_on_its_way(bench: Bench) -> None:
    """A delivery whose answer was lost and that was canceled meanwhile is returned, and the next
    heartbeat says so."""
    task = await bench.submit()
    worker = await bench.worker()
    await worker.lease(wait=1.0, lost=True)
    await bench.control(Cancel(task.id))
    got = await worker.lease(wait=1.0)
    same([one.task.id for one in got], [task.id], "deliveries of the repeated number")
    same(await worker.told(got[0]), Hold.CANCELED, "what the heartbeat says")
    await worker.ends(got[0], Parked())
    await worker.none("deliveries of the canceled task")


@case("P1.2j", needs={Ability.VIEW})
async def listed(bench: Bench) -> None:
    """The view tells a living worker's last heartbeat, every field as it was sent; of one that
    has left it tells nothing."""
    worker, other = await bench.worker(), await bench.worker("other")
    sent = Beat(
        worker=worker.id,
        lease=LONG,
        heartbeat=2.5,
        answered=0,
        host="host.example",
        pid=4711,
        started_at=1.7e9 + 0.25,
        slots=12,
        running=3,
        lanes=["job", "other"],
        types=["job", "t.two"],
        overdue=["job:late"],
        number=7,
        counted=1_700_000_000_123_456,
        draining=True,
    )
    await worker.queue.extend(sent, [])
    await other.beat([], leaving=True)

    async def told() -> bool:
        infos = {one.beat.worker: one for one in await bench.view.workers()}
        if other.id in infos or infos[worker.id].beat.number != sent.number:
            return False  # a view may lag behind
        same(infos[worker.id].beat, sent, "the last heartbeat")
        holds(infos[worker.id].alive, "the worker is listed as alive")
        return True

    await bench.until("the view tells the last heartbeats", told)


@case("P1.2k", needs=FENCE | ATTEMPTS)
async def repeated_beat(bench: Bench) -> None:
    """A heartbeat whose answer was lost may be repeated, and may come again late: it is answered
    as before, and what it handed back went back once. Whoever has that since keeps it, be it
    another worker or the same one by a later call."""
    await bench.submit_many(2)
    worker, other = await bench.worker(), await bench.worker("other")
    kept, dropped = await worker.take(2)
    held, answered = [Held(kept.task.id, kept.token)], worker.answered
    same((await worker.beat(held)).held, [Hold.KEPT], "the answer that gets lost")
    theirs = await other.one()
    same((theirs.task.id, theirs.attempt), (dropped.task.id, 1), "what was handed back, uncharged")
    same((await worker.beat(held)).held, [Hold.KEPT], "answer to the repeated heartbeat")
    same((await other.beat()).held, [Hold.KEPT], "what its new holder is told")
    await other.ends(theirs, HandBack())
    del worker.held[dropped.task.id, dropped.token]
    ours = await worker.one()
    same((ours.task.id, ours.attempt), (dropped.task.id, 1), "what was handed back again")
    now, worker.answered = worker.answered, answered
    same((await worker.beat(held)).held, [Hold.KEPT], "answer to the heartbeat that comes late")
    worker.answered = now
    same((await worker.beat()).held, [Hold.KEPT] * 2, "what the worker is told in the end")
    for delivery in (kept, ours):
        await worker.ends(delivery)
    await other.none("deliveries in the end")


def _names(deliveries: list[Delivery]) -> list[tuple[str, int]]:
    return sorted((one.task.id, one.token) for one in deliveries)
