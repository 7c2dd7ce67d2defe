"""D: retries, failures for good, replay."""

from __future__ import annotations

from xqueue_core.calls import Ability, Did, Edit, Purge, Replay, Settle, Settled
from xqueue_core.conformance.bench import OOPS, Bench
from xqueue_core.conformance.cases import case
from xqueue_core.conformance.check import between, holds, same
from xqueue_core.conformance.worker import ended
from xqueue_core.task import BRIEF, Failed, Failure, HandBack, RetryAt, State, TimedOut

ATTEMPTS = {Ability.ATTEMPTS}
SEEN = {Ability.ATTEMPTS, Ability.VIEW}
#: All that UTF-8 can hold: controls, quotes, beyond the basic plane, separators, no character.
ODD = "\x00\x1b[31m \"'\\ \r\n\u2028 \u202e☕ \ud7ff\ue000 \ufffe\uffff \U0010ffff \\udce9"


@case("D36", needs=ATTEMPTS)
async def retry_at_once(bench: Bench) -> None:
    """A retry without delay is delivered again at once, as the next attempt."""
    task = await bench.submit()
    worker = await bench.worker()
    await worker.ends(await worker.one(), RetryAt(0.0, OOPS))
    again = await worker.one(within=1.0)
    same((again.task.id, again.attempt), (task.id, 2), "id and attempt")


@case("D37", needs=ATTEMPTS | {Ability.DELAY})
async def retry_later(bench: Bench) -> None:
    """A retry with a delay is not delivered before it, and soon after it."""
    delay = 0.6
    await bench.submit()
    worker = await bench.worker()
    delivery = await worker.one()
    before = bench.clock()
    await worker.ends(delivery, RetryAt(delay, OOPS))
    await worker.one()
    waited = bench.clock() - before
    late = bench.harness.capabilities.delay_resolution + 1.0 * bench.scale
    between(waited, delay - 0.01, delay + late, "seconds until the retry")


@case("D38", needs=ATTEMPTS)
async def exact_attempts(bench: Bench) -> None:
    """Attempts count 1, 2, 3, 4 exactly, whichever process runs them."""
    await bench.submit(max_retry=3)
    workers = [
        await bench.worker("here"),
        await bench.worker("there", queue=(await bench.another()).queue),
    ]
    for attempt in (1, 2, 3, 4):
        worker = workers[attempt % 2]
        delivery = await worker.one()
        same(delivery.attempt, attempt, "attempt")
        await worker.ends(delivery, RetryAt(0.0, OOPS))
    for worker in workers:
        await worker.none("deliveries after the fourth attempt")


@case("D38b", needs=SEEN)
async def errors_of_attempts(bench: Bench) -> None:
    """The history keeps in short what each attempt failed with, also after a success."""
    task = await bench.submit(max_retry=2)
    worker = await bench.worker()
    long = Failure("exception", "builtins.ValueError", "no\nsuch " + "é" * BRIEF)
    for failure in (OOPS, long):
        await worker.ends(await worker.one(), RetryAt(0.0, failure))
    await worker.ends(await worker.one())
    info = await bench.sees(task, state=State.SUCCESS)
    errors = [OOPS.brief, f"ValueError: no such {'é' * BRIEF}"[: BRIEF - 1] + "…", ""]
    same([one.error for one in info.history], errors, "errors in the history")


@case("D39", needs=ATTEMPTS)
async def death_is_not_an_attempt(bench: Bench) -> None:
    """A worker's death counts as a loss and not as an attempt; another gets the task in time."""
    task = await bench.submit()
    victim = await bench.worker("victim", lease=bench.short)
    heir = await bench.worker("heir", lease=bench.short)
    first = await victim.one()
    await victim.die()
    bound = bench.short + bench.harness.capabilities.failure_detection * bench.scale
    again = await heir.one(within=bound + 1.0)
    same(again.task.id, task.id, "task delivered again")
    same((again.attempt, again.losses), (first.attempt, 1), "attempt and losses")
    await heir.ends(again)


@case("D40", needs=SEEN)
async def last_attempt(bench: Bench) -> None:
    """When the last attempt fails the task has failed, once: with its failure, and counted."""
    task = await bench.submit(max_retry=1)
    worker = await bench.worker()
    await worker.ends(await worker.one(), RetryAt(0.0, OOPS))
    last = await worker.one()
    verdicts = await worker.settle_all([ended(last, RetryAt(0.0, OOPS))] * 2)
    same(verdicts[0], Settled.APPLIED, "answer to the last settle")
    info = await bench.sees(task, state=State.FAILED, attempt=2, reason="exception")
    same(info.failure, OOPS, "failure")
    same((await bench.view.stats()).total().failed, 1, "tasks counted as failed")
    await worker.none("deliveries after the last attempt")


@case("D40b", needs=SEEN)
async def last_attempt_timed_out(bench: Bench) -> None:
    """When the last attempt ran too long the task ends as ``timeout``, at once or by retries."""
    slow = Failure("process_timeout", message="too long")
    by_retry, at_once = await bench.submit_many(2, max_retry=0)
    worker = await bench.worker()
    got = {one.task.id: one for one in await worker.take(2)}
    await worker.ends(got[by_retry.id], RetryAt(0.0, slow, timed_out=True))
    await worker.ends(got[at_once.id], TimedOut(slow))
    for task in (by_retry, at_once):
        await bench.sees(task, state=State.TIMEOUT, reason="process_timeout", failure=slow)


@case("D41", needs=SEEN)
async def unrecoverable(bench: Bench) -> None:
    """A task that failed for good is not tried again, whatever attempts are left."""
    task = await bench.submit(max_retry=5)
    worker = await bench.worker()
    rejected = Failure("rejected", message="never")
    await worker.ends(await worker.one(), Failed(rejected))
    await bench.sees(task, state=State.FAILED, attempt=1, reason="rejected", failure=rejected)
    await worker.none("deliveries of what failed for good")


@case("D42", needs=SEEN)
async def dead_letter(bench: Bench) -> None:
    """A failed task keeps its id, payload, headers, failure, attempts and every delivery."""
    failure = Failure("exception", "kit.Oops", "what happened", "Traceback\n  line 1")
    task = await bench.submit(max_retry=1, payload=b'{"a":1}', headers={"h": "v"})
    worker, other = await bench.worker(), await bench.worker("other")
    first = await worker.one()
    await worker.ends(first, RetryAt(0.0, OOPS))
    last = await other.one()
    await other.ends(last, RetryAt(0.0, failure))
    info = await bench.sees(task, state=State.FAILED)
    holds(info.task is not None, "a failed task is shown with its envelope")
    if info.task is not None:
        same((info.task.payload, info.task.headers), (b'{"a":1}', {"h": "v"}), "envelope")
    same((info.lane, info.attempt, info.failure), (task.lane, 2, failure), "lane to failure")
    told = [(one.delivery, one.attempt, one.worker, one.how) for one in info.history]
    expected = [(first.token, 1, worker.id, "retry"), (last.token, 2, other.id, "failed")]
    same(told, expected, "history")


@case("D43")
async def leaving(bench: Bench) -> None:
    """What a worker holds when it leaves, settled by nobody, is delivered to another at once."""
    task = await bench.submit()
    worker, other = await bench.worker(), await bench.worker("other")
    first = await worker.one()
    await worker.beat([], leaving=True)
    again = await other.one(within=2.0)
    same((again.task.id, again.attempt), (task.id, first.attempt), "id and attempt")


@case("D44", needs={Ability.FENCE})
async def poison_in_a_batch(bench: Bench) -> None:
    """A poisoned task in a batch neither blocks its siblings nor runs them again."""
    await bench.submit_many(10, max_retry=0)
    worker = await bench.worker()
    got = await worker.take(10)
    settles = [ended(one, RetryAt(0.0, OOPS) if n == 4 else None) for n, one in enumerate(got)]
    settles.insert(2, Settle("not an id", -1, Failed(OOPS)))
    verdicts = await worker.settle_all(settles)
    same(verdicts.pop(2), Settled.LOST, "answer to nonsense in the batch")
    same(set(verdicts), {Settled.APPLIED}, "answers to the others")
    await worker.none("deliveries afterwards")


@case("D44b", needs=SEEN)
async def odd_texts(bench: Bench) -> None:
    """A failure's texts come back as they were, whatever characters are in them, and those of
    a neighbour in the batch as well."""
    plain, odd = await bench.submit_many(2, max_retry=0)
    worker = await bench.worker()
    got = {one.task.id: one for one in await worker.take(2)}
    failure = Failure("exception", "kit.Ünusual", ODD, f"Traceback\n  {ODD}")
    verdicts = await worker.settle_all(
        [ended(got[odd.id], RetryAt(0.0, failure)), ended(got[plain.id], Failed(OOPS))]
    )
    same(verdicts, [Settled.APPLIED] * 2, "answers")
    await bench.sees(odd, state=State.FAILED, failure=failure)
    await bench.sees(plain, state=State.FAILED, failure=OOPS)


@case("D45", needs=ATTEMPTS)
async def others_progress(bench: Bench) -> None:
    """While one task fails again and again the others of its lane are delivered."""
    await bench.submit(name="bad", max_retry=1000)
    await bench.submit_many(30)
    worker = await bench.worker()
    done = 0
    for _ in range(200):
        delivery = await worker.one()
        bad = delivery.task.id == "job:bad"
        done += not bad
        await worker.ends(delivery, RetryAt(0.0, OOPS) if bad else None)
        if done == 30:
            return
    same(done, 30, "tasks done beside one that keeps failing")


@case("D46", needs=SEEN)
async def replay(bench: Bench) -> None:
    """Failed tasks run again when replayed, one or many, edited or not; others are refused."""
    failed = await bench.submit_many(3, max_retry=0)
    live = await bench.submit("other")
    worker = await bench.worker()
    for delivery in await worker.take(3, "job"):
        await worker.ends(delivery, RetryAt(0.0, OOPS))
    edit = Edit(payload=b'{"fixed":true}')
    verdicts = await bench.control(
        *(Replay(task.id, "wish", edit) for task in failed),
        Replay(live.id, "wish"),
        Replay("job:nobody", "wish"),
    )
    expected = [Did.APPLIED] * 3 + [Did.LIVE, Did.UNKNOWN]
    same([one.did for one in verdicts], expected, "answers to replays")
    got = await worker.take(3, "job")
    same({one.task.payload for one in got}, {b'{"fixed":true}'}, "payloads")
    for delivery in got:
        await worker.ends(delivery)
    info = await bench.sees(failed[0], state=State.SUCCESS, replays=1)
    same(info.failure, None, "failure of a task that succeeded in the end")


@case("D46b", needs=SEEN)
async def replay_is_safe_to_repeat(bench: Bench) -> None:
    """One wish to replay is carried out once, even if repeated when the task has ended again."""
    task = await bench.submit(max_retry=0)
    worker = await bench.worker()
    await bench.fail_for_good(worker)
    await bench.does(Replay(task.id, "wish"))
    await bench.does(Replay(task.id, "wish"), Did.REPEATED)
    await bench.fail_for_good(worker)
    await bench.does(Replay(task.id, "wish"), Did.REPEATED)
    await worker.none("deliveries after a repeated replay")
    await bench.does(Replay(task.id, "another wish"))
    await worker.one()


@case("D46d", needs=SEEN)
async def replay_of_what_was_seen(bench: Bench) -> None:
    """A replay of a task as it was seen does nothing once more has happened to the task; the same
    wish, repeated, is still known."""
    task = await bench.submit(max_retry=0)
    worker = await bench.worker()
    await bench.fail_for_good(worker)
    seen = (await bench.sees(task, state=State.FAILED)).seq
    await bench.does(Replay(task.id, "wish", seq=seen))
    await bench.does(Replay(task.id, "wish", seq=seen), Did.REPEATED)
    await worker.ends(await worker.one())
    await bench.sees(task, state=State.SUCCESS)
    await bench.does(Replay(task.id, "too late", seq=seen), Did.CHANGED)
    await worker.none("deliveries of a task that has succeeded meanwhile")


@case("D46c", needs=SEEN)
async def replay_by_the_numbers(bench: Bench) -> None:
    """A replay may change what a put of this backend would pass, the largest payload and the
    longest delay included; anything beyond is INVALID, with a reason, and changes nothing."""
    claims = bench.harness.capabilities
    task = await bench.submit(max_retry=0)
    worker = await bench.worker()
    await bench.fail_for_good(worker)
    beyond = [
        Replay(task.id, "a", Edit(payload=b"x" * (claims.max_payload + 1))),
        Replay(task.id, "b", Edit(max_retry=-1)),
        Replay(task.id, "c", Edit(process_timeout=-1.0)),
    ]
    if Ability.DELAY in claims.abilities:
        beyond.append(Replay(task.id, "d", delay=claims.max_delay * 1.01 + 1))
    for wish in beyond:
        verdict = await bench.does(wish, Did.INVALID)
        holds(verdict.reason, f"the answer to {wish.request} says what is wrong")
    await bench.sees(task, state=State.FAILED, replays=0)
    await bench.does(Replay(task.id, "fits", Edit(payload=b"x" * claims.max_payload)))
    same(len((await worker.one()).task.payload), claims.max_payload, "bytes of the new payload")


@case("D47", needs={Ability.VIEW}, traits={"corrupt"})
async def quarantine(bench: Bench) -> None:
    """A record that cannot be decoded is shown as quarantined, counts as live, is delivered to
    nobody, and the rest goes on."""
    bad, good = await bench.submit_many(2)
    await bench.harness.corrupt(bench.namespace, bad.id)
    worker = await bench.worker()
    same((await worker.one()).task.id, good.id, "task delivered")
    await worker.none("deliveries of a record that cannot be decoded", wait=0.3)
    info = await bench.sees(bad.id, quarantined=True)
    same((info.task, info.state.final), (None, False), "envelope shown, and whether final")
    total = (await bench.view.stats()).total()
    same((total.quarantined, total.accepted, total.live), (1, 2, 2), "the ledger")


@case("D47b", needs={Ability.VIEW}, traits={"corrupt"})
async def quarantine_of_what_is_held(bench: Bench) -> None:
    """So is one that cannot be decoded any more when the call that leased it is repeated: the
    call's others come again, the ledger counts it, and forgets it with the purge."""
    bad, *good = await bench.submit_many(3)
    worker = await bench.worker()
    same(len(await worker.lease(3, wait=1.0, lost=True)), 3, "deliveries whose answer was lost")
    await bench.harness.corrupt(bench.namespace, bad.id)
    again = await worker.lease(3, wait=1.0)
    same(
        {one.task.id for one in again}, {one.id for one in good}, "deliveries of the repeated call"
    )
    for delivery in again:
        await worker.ends(delivery)
    await worker.beat()  # nobody knows of it: it goes back, or is set aside where that was not done
    await bench.sees(bad.id, quarantined=True)
    total = (await bench.view.stats()).total()
    same((total.quarantined, total.live, total.success), (1, 1, 2), "the ledger")
    await bench.does(Purge(bad.id))
    total = (await bench.view.stats()).total()
    same((total.quarantined, total.live, total.conserved), (0, 0, True), "the ledger after a purge")


@case("D48")
async def unknown_type(bench: Bench) -> None:
    """A task whose type the worker does not know comes back after a second, then after two,
    uncharged; it is not lost, and it blocks nobody."""
    task = await bench.submit()
    other = await bench.submit()
    worker = await bench.worker()
    got = await worker.one()
    for wait in (1.0, 2.0):
        same((got.task.id, got.attempt), (task.id, 1), "id and attempt")
        before = bench.clock()
        await worker.ends(got, HandBack(unable="type"))
        if wait == 1.0:
            same((await worker.one()).task.id, other.id, "task delivered meanwhile")
        got = await worker.one(within=wait + 3.0)
        # The sum of all pauses of a busy machine can only make it longer.
        holds(bench.clock() - before >= 0.9 * wait, f"it stays away for {wait:g} s")
    same((got.task.id, got.attempt), (task.id, 1), "id and attempt after two hand-backs")


@case("D49", needs={Ability.FENCE, Ability.ATTEMPTS})
async def one_effective_retry(bench: Bench) -> None:
    """A retry whose answer was lost and is asked for again, even after the task was leased
    anew, has one effect."""
    await bench.submit(max_retry=5)
    worker = await bench.worker()
    first = await worker.one()
    retry = ended(first, RetryAt(0.0, OOPS))
    same(await worker.settle_all([retry]), [Settled.APPLIED], "first answer")
    same(await worker.settle_all([retry]), [Settled.REPEATED], "second answer")
    again = await worker.one()
    same(again.attempt, 2, "attempt")
    same(await worker.settle_all([retry]), [Settled.REPEATED], "answer after the next lease")
    await worker.none("deliveries beside the running one")
    await worker.ends(again)
