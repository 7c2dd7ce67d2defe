"""The broker's clock, as the replies to heartbeats tell it."""

from __future__ import annotations

import asyncio

from support.queues import Bench
from support.virtual import run
from unit.worker.test_keeper import Keeping


def test_without_a_word_from_the_broker_it_is_the_machines_wall_clock() -> None:
    async def main() -> None:
        keeping = Keeping()
        assert await keeping.keeper.beat()
        assert keeping.keeper.time.now() == keeping.tools.wall()

    run(main())


def test_it_runs_on_from_when_the_last_reply_came() -> None:
    async def main() -> None:
        keeping = Keeping()
        loop = asyncio.get_running_loop()
        keeping.queue.reply.now = 5_000_000.0
        assert await keeping.keeper.beat()
        heard = loop.time()
        await asyncio.sleep(7)
        assert keeping.keeper.time.now() == 5_000_000.0 + loop.time() - heard
        keeping.queue.reply.now = 4_000_000.0  # it was set back
        assert await keeping.keeper.beat()
        assert keeping.keeper.time.now() == 4_000_000.0

    run(main())


def test_a_stored_queue_tells_its_clock() -> None:
    async def main() -> None:
        bench = Bench()
        assert (await bench.beat("worker")).now == bench.clock.wall

    run(main())
