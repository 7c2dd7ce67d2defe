"""When a worker that ends with its work ends."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence

from support.client_fakes import FakeView
from support.fake_queue import FakeQueue, delivery
from support.virtual import run
from unit.worker.test_life import Living, make
from xqueue_core.calls import Leased, Want
from xqueue_core.errors import Unavailable
from xqueue_core.task import Success
from xqueue_core.views import LaneStats, Stats, TypeStats
from xqueue_core.worker.duties import Exit


class Ledgers(FakeView):
    """Answers ``stats`` as scripted, the last answer for ever."""

    def __init__(self, *answers: Stats | Exception) -> None:
        super().__init__()
        self.answers = deque(answers)

    async def stats(self) -> Stats:
        answer = self.answers[0]
        if len(self.answers) > 1:
            self.answers.popleft()
        if isinstance(answer, Exception):
            raise answer
        return answer


def test_a_look_at_the_ledger_that_failed_is_repeated() -> None:
    """Nothing else happens meanwhile that would have it looked at again."""

    async def main() -> None:
        app, started = make()
        living = Living(app, burst=True, lease_wait=1e9)
        view = Ledgers(*[Unavailable("away")] * 3, Stats())
        living.engine.faces = living.engine.faces._replace(view=view)
        living.queue.reply.paused = ["job"]  # so that no lease is answered, which would have it
        living.queue.add(delivery("stays"))
        async with asyncio.timeout(60):
            assert await living.task is Exit.EMPTY
        assert (started, list(view.answers)) == ([], [Stats()])

    run(main())


def test_what_is_parked_or_was_put_meanwhile_keeps_it() -> None:
    """A ledger that shows tasks is looked at again once something has changed."""

    async def main() -> None:
        app, started = make()
        living = Living(app, burst=True, lease_wait=0.1)
        row = LaneStats(types={"job": TypeStats(pending=1)})
        view = Ledgers(Stats(lanes={"job": row}))
        living.engine.faces = living.engine.faces._replace(view=view)
        await asyncio.sleep(30)
        assert not living.task.done()
        living.queue.add(delivery("late"))
        while not started:
            await asyncio.sleep(0.1)
        assert not living.task.done()
        view.answers = deque([Stats()])
        assert await living.task is Exit.EMPTY
        assert len(living.queue.settled) == 1

    run(main())


class Slow(FakeQueue):
    """Answers of ``lease`` are this many seconds on their way; what they bring is taken before."""

    delay = 0.0

    async def lease(
        self, wants: Sequence[Want], limit: int, call: int, worker: str, wait: float
    ) -> Leased:
        answer = await super().lease(wants, limit, call, worker, wait)
        if answer.deliveries:
            await asyncio.sleep(self.delay)
        return answer


class Counted(FakeView):
    """Counts as pending what the queue still has."""

    def __init__(self, queue: FakeQueue) -> None:
        super().__init__()
        self.queue = queue

    async def stats(self) -> Stats:
        types = {"job": TypeStats(pending=len(self.queue.ready))}
        return Stats(lanes={"job": LaneStats(types=types)})


def test_what_a_call_under_way_has_taken_is_waited_for() -> None:
    """It is pending no more, and not here yet."""

    async def main() -> None:
        app, started = make()
        queue = Slow()
        living = Living(app, burst=True, lease_wait=0.1, queue=queue)
        living.engine.faces = living.engine.faces._replace(view=Counted(queue))
        queue.add(delivery("first"))
        await asyncio.sleep(9.5)
        queue.delay = 5.0
        queue.add(delivery("late"))
        assert await living.task is Exit.EMPTY
        assert len(started) == 2
        assert list(queue.settled.values()) == [Success()] * 2

    run(main())
