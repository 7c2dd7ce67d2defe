"""A worker that is told to end, and must be replaced as well."""

from __future__ import annotations

import asyncio

import pytest

from support.apps import make_app
from support.fake_queue import delivery
from support.virtual import run
from unit.worker.test_executor import Executing
from unit.worker.test_life import Living
from xqueue_core.task import AnyOutcome, Canceled, HandBack
from xqueue_core.worker.duties import Exit
from xqueue_core.worker.job import Job, Tell, Told


@pytest.mark.parametrize(
    ("how", "after", "exit"),
    [
        ("signal", 2.5, Exit.STOPPED),
        ("signal", 5.5, Exit.STOPPED),
        ("order", 2.5, Exit.ORDERED),
        ("order", 5.5, Exit.ORDERED),
        ("nothing", 5.5, Exit.RECYCLE),
    ],
)
def test_who_is_told_to_end_is_not_replaced(how: str, after: float, exit: Exit) -> None:
    """Not even if code in it cannot be stopped, be it known before or found out meanwhile."""

    async def main() -> None:
        app, released = make_app(), asyncio.Event()

        @app.task
        async def job() -> None:
            while not released.is_set():
                try:
                    await asyncio.sleep(1000)
                except asyncio.CancelledError:
                    continue

        living = Living(app, grace=3.0, recycle=True)
        living.queue.add(
            delivery("stuck", process_timeout=1.0), delivery("other", process_timeout=None)
        )
        await asyncio.sleep(after)
        assert living.engine.hopeless == (after > 5)
        if how == "signal":
            living.life.stop()
        elif how == "order":
            living.queue.reply.stop = True
        found = await living.task
        released.set()
        assert found is exit
        assert living.engine.hopeless
        assert living.life.abandoned, "the process must not outlive this"

    run(main())


@pytest.mark.parametrize(
    ("why", "outcome"), [(Told.STOP, HandBack(reason="stop")), (Told.CANCEL, Canceled())]
)
def test_what_was_told_before_its_first_step_never_ran(why: Told, outcome: AnyOutcome) -> None:
    async def main() -> None:
        app, entered = make_app(), []

        @app.task
        async def job() -> None:
            entered.append("job")

        one = Executing(app)
        told = Job(delivery("1"), app.handlers["job"])
        one.executor.receive([told])
        one.executor.receive([Tell(told, why)])  # before its coroutine has its first turn
        assert await one.until_ended(1) == [outcome]
        assert not entered

    run(main())
