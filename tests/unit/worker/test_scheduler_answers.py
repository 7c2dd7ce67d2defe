"""Brokers that keep no schedules, and answers that are bad."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from typing import Any

import pytest

from support.apps import make_app
from support.fake_queue import FakeQueue
from support.fleet import Fleet, every
from support.virtual import run, tools
from xqueue_core import Unsupported
from xqueue_core.calls import Accepted, Announce, Did, Put, Verdict
from xqueue_core.errors import PayloadTooLarge
from xqueue_core.worker.brokertime import BrokerTime
from xqueue_core.worker.scheduler import Scheduler


class Answering(FakeQueue):
    """Answers as it is told."""

    def __init__(self, did: Did = Did.APPLIED) -> None:
        super().__init__()
        self.did = did
        self.puts: list[Any] = []
        self.says: list[Accepted] = []

    async def control(self, commands: Any) -> list[Verdict]:
        return [Verdict(self.did, count=1, at=1000.0) for _ in commands]

    async def put(self, tasks: Any) -> list[Accepted]:
        self.puts += tasks
        return [self.says.pop(0) if self.says else Accepted(Put.NEW) for _ in tasks]


def scheduling(queue: FakeQueue) -> Scheduler:
    app = make_app()

    @app.every(10)
    async def tick() -> None: ...

    own = tools()
    return Scheduler(queue, app.schedules.values(), BrokerTime(own), own)


def test_a_broker_that_keeps_no_schedules_is_refused() -> None:
    async def main() -> None:
        with pytest.raises(Unsupported, match="keeps no recurring schedules"):
            await scheduling(Answering(Did.UNSUPPORTED)).begin()

    run(main())


def test_a_slot_whose_put_has_no_answer_is_put_again(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        queue = Answering()
        queue.says = [Accepted(Put.UNKNOWN), Accepted(Put.UNKNOWN)]
        scheduler = scheduling(queue)
        await scheduler.begin()
        running = asyncio.create_task(scheduler.run())
        await asyncio.sleep(25)
        running.cancel()
        assert [task.slot.at for task in queue.puts] == [1010.0, 1010.0, 1010.0, 1020.0]
        assert "cannot be fired now" in caplog.text

    run(main())


def test_a_slot_that_is_refused_is_said_so_and_not_put_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        queue = Answering()
        queue.says = [Accepted(Put.REJECTED, error=PayloadTooLarge("much too large"))]
        scheduler = scheduling(queue)
        await scheduler.begin()
        running = asyncio.create_task(scheduler.run())
        await asyncio.sleep(25)
        running.cancel()
        assert [task.slot.at for task in queue.puts] == [1010.0, 1020.0]
        assert "much too large" in caplog.text

    with caplog.at_level(logging.ERROR):
        run(main())


def test_many_schedules_are_announced_and_fired_in_batches() -> None:
    async def main() -> None:
        app = make_app()

        async def tick(n: int = 0) -> None: ...

        handler = app.task(tick)
        for n in range(450):
            app.every(10, name=f"s{n}", args=(n,))(handler)
        queue, own = Answering(), tools()
        scheduler = Scheduler(queue, app.schedules.values(), BrokerTime(own), own)
        await scheduler.begin()
        running = asyncio.create_task(scheduler.run())
        await asyncio.sleep(15)
        running.cancel()
        slots = Counter((task.slot.schedule, task.slot.at) for task in queue.puts)
        assert slots == Counter({(f"s{n}", 1010.0): 1 for n in range(450)})

    run(main())


def test_an_announcement_names_rule_and_type() -> None:
    async def main() -> None:
        fleet = Fleet()
        await fleet.start(every(10))
        await asyncio.sleep(1)
        queue = fleet.faces().queue
        [verdict] = await queue.control([Announce("often", "tick every 10s")])
        assert (verdict.did, verdict.count) == (Did.APPLIED, 1)
        await fleet.stop()

    run(main())
