"""What the simulation found in the engine, each in a few lines."""

from __future__ import annotations

import asyncio
import gc
import warnings
from collections import deque
from typing import Any

import pytest

from support.apps import make_app
from support.fake_queue import FakeQueue, delivery
from support.fake_semaphore import FakeSemaphore
from support.virtual import run, tools
from unit.worker.parts import OPTIONS, request
from unit.worker.test_life import Living, make
from xqueue_core import Context
from xqueue_core.calls import Leased
from xqueue_core.errors import Unavailable
from xqueue_core.permits import Grant, Keep
from xqueue_core.task import HandBack, Success
from xqueue_core.worker.declaring import KEPT
from xqueue_core.worker.ending import FAREWELL, WORD
from xqueue_core.worker.permits import AGAIN, PermitDesk


def test_a_worker_that_is_cancelled_at_its_last_words_leaves_nothing_running() -> None:
    async def main() -> None:
        app, _ = make()
        before = asyncio.all_tasks()
        living = Living(app)
        await asyncio.sleep(1)
        living.queue.hang.add("extend")  # the last heartbeat finds no answer
        living.life.stop()
        await asyncio.sleep(0.1)
        assert not living.task.done()
        living.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await living.task
        assert asyncio.all_tasks() == before

    run(main())


def test_a_call_that_arrives_behind_its_withdrawal_keeps_no_permit() -> None:
    async def main() -> None:
        semaphore = FakeSemaphore(job=1)
        desk = PermitDesk(semaphore, "w~1", OPTIONS, tools())
        giving_back = asyncio.create_task(desk.run(lambda permits: None))
        late = request("w~1:1")
        desk.withdraw(late)
        await asyncio.sleep(0.1)
        await semaphore.acquire([late], 0.0)  # it had been sent before
        await asyncio.sleep(AGAIN[0])
        await desk.renew([], lambda grip, keep: None)
        await asyncio.sleep(0.1)
        assert (await semaphore.acquire([request("w~2:1")], 0.0))[0].grant is Grant.GRANTED
        giving_back.cancel()

    run(main())


def test_a_worker_that_is_cancelled_before_its_last_words_forgets_no_coroutine() -> None:
    async def main() -> None:
        app, _ = make()
        living = Living(app)
        await asyncio.sleep(1)
        leaving = asyncio.ensure_future(living.life._ending.leave())
        await asyncio.sleep(0)  # its words are tasks by now, and have not begun
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        await living.stop()

    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        run(main())
        gc.collect()
    assert [str(one.message) for one in heard] == []


def test_a_worker_that_is_cancelled_in_its_grace_time_leaves_nothing_running() -> None:
    async def main() -> None:
        app, _ = make()
        living = Living(app)
        living.queue.add(delivery("runs"))
        await asyncio.sleep(1)
        living.life.stop()
        await asyncio.sleep(0.1)
        living.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await living.task
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert len(left) == 1, left  # the handler, which belongs to its own loop

    run(main())


def test_a_fetcher_that_is_cancelled_has_no_call_left() -> None:
    """Also where the call needs a moment to end: it must not outlive its worker."""

    class Slow(FakeQueue):
        async def lease(self, *args: Any) -> Leased:
            try:
                return await super().lease(*args)
            finally:
                await asyncio.sleep(0.1)

    async def main() -> None:
        app, _ = make()
        before = asyncio.all_tasks()
        living = Living(app, queue=Slow())
        await asyncio.sleep(1)
        assert living.queue.leases
        living.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await living.task
        assert asyncio.all_tasks() == before

    run(main())


@pytest.mark.parametrize("back", [0.1, 0.9 * WORD])
def test_an_outage_up_to_the_last_words_costs_no_success(back: float) -> None:
    """Its last heartbeat gets through: until then the outcomes are tried."""

    async def main() -> None:
        app = make_app()

        @app.task
        async def job() -> None: ...

        living = Living(app)
        await asyncio.sleep(1)
        living.queue.fail["settle"] = deque([Unavailable("away")] * 10_000)
        living.queue.add(delivery("done"))
        await asyncio.sleep(30)
        stopping = asyncio.create_task(living.stop())
        await asyncio.sleep(FAREWELL + back)
        assert not stopping.done()
        living.queue.fail.clear()
        await stopping
        assert await living.settled(1) == {"done": Success()}
        assert living.queue.beats[-1][0].leaving

    run(main())


def test_a_job_that_waits_to_be_alone_goes_back_when_its_permit_must_be_yielded() -> None:
    async def main() -> None:
        app, started = make()
        living = Living(app, FakeSemaphore(job=2))
        living.queue.add(delivery("runs"))
        await asyncio.sleep(1)
        living.queue.add(delivery("suspect", losses=2))
        await asyncio.sleep(1)
        [job] = [one for one in living.engine.desk.active if one.id == "job:suspect"]
        assert job.permit is not None
        job.permit.yielding = True
        living.engine.renewal._told(job.permit, Keep.YIELD)
        living.queue.ready.clear()
        ends = await living.settled(1)
        assert ends["suspect"] == HandBack(reason="permit")
        await living.stop()
        assert started == ["job"]

    run(main())


def test_a_worker_that_is_cancelled_as_it_leaves_waits_for_the_slower_of_its_last_words() -> None:
    async def main() -> None:
        app, _ = make()
        living = Living(app)
        ended: list[str] = []

        async def beat(*, leaving: bool = False) -> None:
            try:
                await asyncio.sleep(1)
            finally:
                await asyncio.sleep(0.1)  # a driver that gives its connection back
                ended.append("beat")

        await asyncio.sleep(1)
        living.engine.keeper.beat = beat  # type: ignore[assignment, method-assign]
        living.engine.permits.flush = lambda: asyncio.sleep(1)  # type: ignore[method-assign]
        leaving = asyncio.ensure_future(living.life._ending.leave())
        await asyncio.sleep(0.1)
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        assert ended == ["beat"]
        living.task.cancel()
        await asyncio.wait([living.task])

    run(main())


class _Losing(FakeSemaphore):
    """Loses all it has once, when so many limits were set; another may have set the kept one."""

    def __init__(self, after: int, kept: int) -> None:
        super().__init__()
        self._left = after
        self._kept = kept

    async def set_limit(self, key: str, limit: int | None, *, pinned: bool = True) -> None:
        await super().set_limit(key, limit, pinned=pinned)
        if key != KEPT:
            self.limit(key, 1)  # as it is wherever this worker's lane is declared
        self._left -= 1
        if self._left == 0:
            self.limits.clear()
            self.versions.clear()
            if self._kept:
                self.limits[KEPT], self.versions[KEPT] = 1, self._kept


@pytest.mark.parametrize(("after", "kept"), [(1, 0), (1, 9), (2, 0), (2, 9)])
def test_limits_that_are_lost_while_a_worker_starts_hold_from_its_first_task(
    after: int, kept: int
) -> None:
    async def main() -> None:
        app, most = make_app(), 0
        running: set[str] = set()

        @app.task(max_concurrency=1)
        async def job(ctx: Context) -> None:
            nonlocal most
            running.add(ctx.id)
            most = max(most, len(running))
            await asyncio.sleep(1)
            running.discard(ctx.id)

        living = Living(app, _Losing(after, kept))
        living.queue.add(*(delivery(str(n)) for n in range(4)))
        assert len(await living.settled(4)) == 4
        await living.stop()
        assert most == 1

    run(main())
