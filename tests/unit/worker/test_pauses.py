"""While a handler blocks its loop others get what has not started, and nothing is fetched."""

from __future__ import annotations

import asyncio
import threading

from support.fake_queue import delivery
from support.fake_semaphore import FakeSemaphore
from support.virtual import run
from unit.worker.test_life import Living, make
from xqueue_core import XQueue
from xqueue_core.calls import BeatReply
from xqueue_core.task import HandBack, Success
from xqueue_core.worker.duties import Exit
from xqueue_core.worker.job import Job

BLOCKED = HandBack(reason="blocked")


def limited() -> XQueue:
    """An app whose handler takes ten seconds, in a lane of two at once."""
    app, _ = make()
    app.task(name="narrow", max_concurrency=2, process_timeout=None)(_ten)
    return app


async def _ten() -> None:
    await asyncio.sleep(10)


def test_what_has_not_started_goes_back_and_nothing_more_comes() -> None:
    async def main() -> None:
        app, started = make()
        living = Living(app)
        living.queue.add(*(delivery(str(n)) for n in range(8)))
        await asyncio.sleep(1)
        assert len(started) == 4
        living.engine.pauses.blocks(True)
        ends = await living.settled(2)
        assert ends == {"4": BLOCKED, "5": BLOCKED}
        await asyncio.sleep(60)
        assert list((await living.settled(6)).values()) == [BLOCKED] * 2 + [Success()] * 4
        assert [one.task.id for one in living.queue.ready] == ["job:6", "job:7"]
        assert len(started) == 4
        living.engine.pauses.blocks(False)
        await living.settled(8)
        assert len(started) == 6
        assert await living.stop() is Exit.STOPPED

    run(main())


def test_a_call_that_waits_for_work_ends() -> None:
    async def main() -> None:
        app, started = make()
        living = Living(app)
        await asyncio.sleep(1)
        living.engine.pauses.blocks(True)
        await asyncio.sleep(0.1)
        living.queue.add(delivery("late"))
        await asyncio.sleep(60)
        assert (len(living.queue.ready), started) == (1, [])
        living.engine.pauses.blocks(False)
        assert await living.settled(1) == {"late": Success()}
        await living.stop()

    run(main())


def test_permits_go_back_and_are_asked_for_again() -> None:
    async def main() -> None:
        semaphore = FakeSemaphore(narrow=2)
        living = Living(limited(), semaphore)
        living.queue.add(delivery("a", lane="narrow"))
        await asyncio.sleep(5)
        assert len(semaphore.holders["lane:narrow"]) >= 1
        living.engine.pauses.blocks(True)
        await asyncio.sleep(3)
        assert len(semaphore.holders["lane:narrow"]) == 1, "of what runs"
        living.queue.add(delivery("b", lane="narrow"))
        await asyncio.sleep(20)
        assert not semaphore.holders["lane:narrow"]
        living.engine.pauses.blocks(False)
        assert (await living.settled(2))["b"] == Success()
        await living.stop()

    run(main())


def test_a_pause_told_meanwhile_holds_afterwards() -> None:
    async def main() -> None:
        app, started = make()
        living = Living(app)
        await asyncio.sleep(1)
        living.engine.pauses.blocks(True)
        living.queue.reply = BeatReply(paused=["job"])
        await asyncio.sleep(5)
        living.engine.pauses.blocks(False)
        living.queue.add(delivery("a"))
        await asyncio.sleep(60)
        assert not started
        living.queue.reply = BeatReply()
        assert await living.settled(1) == {"a": Success()}
        await living.stop()

    run(main())


def test_a_burst_does_not_end_over_what_it_handed_back() -> None:
    async def main() -> None:
        app, started = make()
        living = Living(app, burst=True, concurrency=1, prefetch=1)
        living.queue.add(delivery("first"), delivery("second"))
        await asyncio.sleep(1)
        living.engine.pauses.blocks(True)
        assert (await living.settled(1)) == {"second": BLOCKED}
        await asyncio.sleep(30)
        assert not living.task.done()
        living.queue.add(delivery("second again"))
        living.engine.pauses.blocks(False)
        assert await living.task is Exit.EMPTY
        assert len(started) == 2

    run(main())


def test_one_of_two_sides_gets_a_job() -> None:
    app, _ = make()
    for _ in range(300):
        job = Job(delivery("1"), app.handlers["job"])
        got: list[bool] = []
        both = [threading.Thread(target=lambda: got.append(job.claim())) for _ in range(2)]  # noqa: B023
        for one in both:
            one.start()
        for one in both:
            one.join()
        assert sorted(got) == [False, True]
