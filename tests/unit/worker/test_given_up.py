"""Jobs of which the engine knows more than the handlers' side was told so far."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from support.apps import make_app
from unit.worker.test_executor import Executing
from xqueue_core.task import Canceled, Success
from xqueue_core.worker.job import Job, Stage


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
        assert given_up.started

    asyncio.run(main())
    assert ran == []


def _change(job: Job, change: dict[str, Any]) -> None:
    for name, value in change.items():
        setattr(job, name, value)
