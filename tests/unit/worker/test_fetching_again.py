"""What kept a worker from fetching is over, and it fetches again."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from support.apps import make_app
from support.fake_queue import FakeQueue, delivery
from support.virtual import run
from unit.worker.test_life import Living
from xqueue_core.calls import Settle, Settled
from xqueue_core.errors import Refused


class Refusing(FakeQueue):
    """Refuses one outcome for ever."""

    async def settle(self, outcomes: Sequence[Settle]) -> list[Settled]:
        if any(one.id == "job:bad" for one in outcomes):
            raise Refused("this row cannot be written")
        return await super().settle(outcomes)


def test_large_results_that_had_to_wait_do_not_keep_a_worker_from_fetching_again() -> None:
    async def main() -> None:
        app = make_app()

        @app.task(process_timeout=None)
        async def job() -> str:
            await asyncio.sleep(5)
            return "x" * 500_000

        living = Living(app, queue=Refusing(), concurrency=200, prefetch=0)
        living.queue.add(*(delivery(str(n)) for n in range(150)), delivery("bad"))
        await living.settled(150)
        living.queue.add(*(delivery(f"later{n}") for n in range(10)))
        await living.settled(160)
        await living.stop()

    run(main())
