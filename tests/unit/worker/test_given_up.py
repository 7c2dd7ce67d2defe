"""Jobs of which the engine knows more than the handlers' side was told so far."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from support.apps import make_app
from support.virtual import VirtualLoop, run
from unit.worker.test_executor import Executing
from xqueue_core import CallNext, Context, XQueue
from xqueue_core.task import Canceled, HandBack, Success
from xqueue_core.worker.job import Job, Recall, Stage, Tell, Told


@pytest.mark.parametrize("lane", ["job", "plain"])
@pytest.mark.parametrize(
    ("change", "outcome"),
    [
        ({"stage": Stage.ENDED}, None),  # given up: settled already, perhaps running elsewhere
        ({"lost": True}, None),
        ({"canceled": True}, Canceled()),
    ],
)
def test_what_the_engine_has_given_up_never_starts(
    lane: str, change: dict[str, Any], outcome: object
) -> None:
    """The word about it is still on its way: this loop was held up."""
    ran: list[str] = []

    async def main() -> None:
        app = make_app()

        @app.task
        async def job() -> None:
            ran.append("job")

        @app.task
        def plain() -> None:
            ran.append("plain")

        one = Executing(app)
        _change(one.start(lane), change)
        assert await one.until_ended(1) == [outcome]
        one.start(lane, "next")
        assert await one.until_ended(2) == [outcome, Success()]
        one.executor.close()

    asyncio.run(main())
    assert ran == [lane]


def test_what_is_given_up_before_its_first_step_never_takes_it() -> None:
    ran: list[str] = []

    async def main() -> None:
        app = make_app()

        @app.task
        async def job() -> None:
            ran.append("job")

        one = Executing(app)
        given_up = one.start("job")
        # Runs behind what starts the job, and before its first step.
        asyncio.get_running_loop().call_soon(_change, given_up, {"stage": Stage.ENDED})
        assert await one.until_ended(1) == [None]
        assert not given_up.started

    asyncio.run(main())
    assert ran == []


@pytest.mark.parametrize("around", [False, True])
@pytest.mark.parametrize(
    ("held", "change", "outcomes"),
    [
        (5.0, {}, [Success(), Success()]),  # its time-out of 3 s begins with its first step
        (5.0, {"lost": True}, [None, None]),
        (5.0, {"canceled": True}, [Canceled(), Canceled()]),
        (13.0, {}, [HandBack(reason="stale")] * 2),
    ],
)
def test_what_another_handler_keeps_from_its_first_step_is_looked_at_again(
    held: float, change: dict[str, Any], outcomes: list[object], around: bool
) -> None:
    """Its slot was given to it before; then another one's first step blocked the loop."""
    ran: list[str] = []

    async def main() -> None:
        app = XQueue("memory://", middleware=[_around] if around else [])
        jobs: list[Job] = []
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)

        @app.task
        async def blocks() -> None:
            loop.now += held
            for one in jobs:
                _change(one, change)

        @app.task
        async def job() -> None:
            ran.append("job")
            await asyncio.sleep(1.0)

        one = Executing(app, concurrency=4)
        one.start("blocks", process_timeout=60.0)
        jobs += [one.start("job", str(n), process_timeout=3.0) for n in range(2)]
        assert await one.until_ended(3)
        assert [job.outcome for job in jobs] == outcomes

    run(main())
    assert len(ran) == outcomes.count(Success())


def test_what_is_recalled_or_taken_back_while_the_loop_is_blocked_does_not_begin() -> None:
    ran: list[str] = []

    async def main() -> None:
        app = make_app()
        jobs: list[Job] = []

        @app.task
        async def blocks() -> None:
            # What the engine does meanwhile, in its thread: the first is handed back by it, the
            # word about the second waits, behind the first steps that are due.
            assert jobs[0].claim()
            jobs[0].stage = Stage.ENDED
            one.executor.receive([Recall("paused", job=jobs[1])])
            one.executor.receive([Tell(jobs[2], Told.STOP)])

        @app.task
        async def job(n: int) -> None:
            ran.append(f"job {n}")

        one = Executing(app, concurrency=5)
        one.start("blocks")
        jobs += [one.start("job", str(n), payload=b'{"n": %d}' % n) for n in range(4)]
        await one.until_ended(5)
        backs = [HandBack(reason="paused"), HandBack(reason="stop")]
        assert [job.outcome for job in jobs] == [None, *backs, Success()]

    run(main())
    assert ran == ["job 3"]


async def _around(context: Context, call_next: CallNext) -> Any:
    return await call_next(context)


def _change(job: Job, change: dict[str, Any]) -> None:
    for name, value in change.items():
        setattr(job, name, value)
