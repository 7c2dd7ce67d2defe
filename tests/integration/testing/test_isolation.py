"""One test sees nothing of another, of the configured broker, or of what ran before."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from support.apps import make_app
from support.rehearsed import an_app, hows
from support.workers import until, working
from xqueue_core import Context, ResultExpired, Unavailable, UnknownType, XQueue
from xqueue_core.testing import Testing, call

pytestmark = pytest.mark.anyio
app = an_app()


@app.task
async def job(n: int) -> int:
    return n


@pytest.fixture
def queue() -> Iterator[Testing]:
    """As in docs/testing.md: entered and left where no event loop runs."""
    with app.testing() as t:
        yield t


@pytest.mark.parametrize("again", [1, 2])
async def test_a_plain_fixture_serves_coroutines(queue: Testing, again: int) -> None:
    handle = await job.submit(again)
    await queue.run_all()
    assert await handle.result() == again
    assert queue.submitted(job) == [call(again)]
    waiting = asyncio.create_task((await job.submit(3)).result())  # left to the fixture's end
    await asyncio.sleep(0)
    assert not waiting.done()


async def test_what_was_open_before_is_open_after_and_untouched(tmp_path: Path) -> None:
    configured = make_app(f"sqlite:///{tmp_path / 'tasks.db'}")

    @configured.task
    async def there(n: int) -> int:
        return n

    async with configured:
        real = await there.submit(1)
        async with configured.testing() as t:
            rehearsed = await there.submit(2)
            assert hows(await t.run_all()) == ["success"]
            assert await rehearsed.result() == 2
            with pytest.raises(ResultExpired):
                await real.state()
        assert await real.state() == "pending"
        with pytest.raises(ResultExpired):
            await rehearsed.state()
        async with working(configured):
            assert await real.result(20) == 1


async def test_nothing_is_opened_nor_written_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    plain = XQueue()  # SQLite in this folder

    @plain.task
    async def there() -> None: ...

    async with plain.testing() as t:
        await there.submit()
        await t.run_all()
    assert os.listdir(tmp_path) == []


async def test_types_that_another_broker_knows_are_not_known(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'tasks.db'}"
    other, here = make_app(url), make_app(url)

    @other.task
    async def far(n: int) -> None: ...

    @here.task
    async def near() -> None: ...

    async with other, here:
        await far.submit(1)
        await here.submit("far", n=2)
        async with here.testing():
            with pytest.raises(UnknownType):
                await here.submit("far", n=3)
        await here.submit("far", n=4)


async def test_tasks_that_are_left_are_gone() -> None:
    async with app.testing() as t:
        for n in range(10):
            await job.options(delay=n).submit(n)
        await t.advance(4)
    async with app.testing() as t:
        assert await t.run_all() == []


async def test_runs_of_the_same_test_are_the_same() -> None:
    flaky_app = an_app()
    times: list[list[datetime]] = []

    @flaky_app.task(max_retry=3)
    async def flaky(ctx: Context) -> None:
        times[-1].append(t.now)
        raise OSError("down")

    for _ in range(2):
        times.append([])
        async with flaky_app.testing(now=datetime(2030, 1, 1, tzinfo=UTC)) as t:
            await flaky.submit()
            await t.run_all(raise_errors=False)
    assert len(times[0]) == 4
    assert times[0] == times[1]


async def test_a_caller_that_still_waits_at_the_end_is_not_left_waiting() -> None:
    async with app.testing():
        handle = await job.submit(1)
        waiting = asyncio.create_task(handle.result())
        await until("it waits", lambda: app._client.session.watcher._waits)
    with pytest.raises(Unavailable, match="closed meanwhile"):
        await asyncio.wait_for(waiting, 20)


def test_other_threads_and_their_loops_are_let_go() -> None:
    go, left = threading.Event(), threading.Event()
    ids: list[str] = []

    async def main() -> None:
        ids.append((await job.submit(1)).id)
        go.set()
        await asyncio.to_thread(left.wait, 20)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with app.testing() as t:
            thread = threading.Thread(target=asyncio.run, args=(main(),))
            thread.start()
            assert go.wait(20)
            [run] = t.run_all()
            assert run.id == ids[0]
        left.set()
        thread.join(20)
        gc.collect()
    assert not thread.is_alive()


async def test_a_failing_check_within_a_handler_is_the_test_s_failure() -> None:
    checked = an_app()

    @checked.task(max_retry=0)
    async def fails() -> None:
        pytest.fail("not what was expected")

    async with checked.testing() as t:
        await fails.submit()
        with pytest.raises(pytest.fail.Exception, match="not what was expected"):
            await t.run_all()
