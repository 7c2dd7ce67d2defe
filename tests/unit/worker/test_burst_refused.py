"""A worker that ends with its work, and outcomes that the broker never takes."""

from __future__ import annotations

import asyncio
import logging

import pytest

from support.apps import make_app
from support.fake_queue import delivery
from support.virtual import run
from unit.worker.test_life import Living
from unit.worker.test_settler import FAULTS, Picky
from xqueue_core.task import Success
from xqueue_core.worker.duties import Exit


@pytest.mark.parametrize("error", FAULTS)
@pytest.mark.parametrize("alone", [False, True])
def test_what_is_never_taken_does_not_keep_it(
    error: Exception, alone: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        app = make_app()

        @app.task(process_timeout=None)
        async def job() -> str:
            await asyncio.sleep(1)
            return "x"

        queue = Picky(error, lambda one: one.id == "job:bad")
        wait = 0.1 if alone else 1e9
        living = Living(app, queue=queue, burst=True, concurrency=20, lease_wait=wait)
        names = [] if alone else [str(number) for number in range(9)]
        queue.add(delivery("bad"), *map(delivery, names))
        await asyncio.sleep(0.5)
        if not alone:  # then no lease is answered, which would have it look again
            queue.reply.paused = ["job"]
        async with asyncio.timeout(300):
            assert await living.task is Exit.EMPTY
        assert queue.settled == {(f"job:{name}", 1): Success(b'"x"') for name in names}
        last, held = queue.beats[-1]
        assert last.leaving
        assert [id for id, _ in held] == ["job:bad"], "so it is handed back"

    caplog.set_level(logging.INFO, "xqueue.worker")
    run(main(), 500.0)
    assert caplog.text.count("ending without the outcomes of 1 task: job:bad") == 1


def test_a_refusal_that_passes_is_waited_for() -> None:
    async def main() -> None:
        app = make_app()

        @app.task(process_timeout=None)
        async def job() -> None: ...

        queue = Picky(FAULTS[0], lambda one: one.id == "job:bad", times=24)
        living = Living(app, queue=queue, burst=True, lease_wait=0.1)
        queue.add(delivery("bad"))
        async with asyncio.timeout(300):
            assert await living.task is Exit.EMPTY
        assert queue.settled == {("job:bad", 1): Success()}

    run(main(), 500.0)
