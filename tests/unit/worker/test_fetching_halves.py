"""A large room is filled by halves, so that worker and broker work side by side."""

from __future__ import annotations

import asyncio

from support.fake_queue import delivery
from support.virtual import run
from unit.worker.parts import Fetching, settle_down
from xqueue_core.worker.fetcher import LONGEST


def test_a_large_room_is_filled_by_halves_without_a_rest() -> None:
    async def main() -> None:
        fetching = Fetching(concurrency=100, prefetch=25)
        await asyncio.sleep(0.02)
        fetching.queue.add(*(delivery(str(n)) for n in range(300)))
        await settle_down()
        assert [one.limit for one in fetching.queue.leases] == [63, 62]
        assert [asked.whole for asked, _ in fetching.answers] == [False, True]
        for job in fetching.jobs[:80]:
            fetching.desk.leave(job)
        fetching.fetcher.poke()
        await settle_down()
        assert [one.limit for one in fetching.queue.leases][2:] == [63, 17]
        await fetching.close()

    run(main())


def test_what_is_worth_no_call_yet_waits_for_more() -> None:
    async def main() -> None:
        fetching = Fetching(concurrency=100, prefetch=25)
        await asyncio.sleep(0.02)
        fetching.queue.add(*(delivery(str(n)) for n in range(63)))
        await settle_down()
        for job in fetching.jobs[:20]:
            fetching.desk.leave(job)
        await asyncio.sleep(0.02)
        fetching.queue.add(*(delivery(str(n)) for n in range(100, 300)))
        await settle_down()
        assert [one.limit for one in fetching.queue.leases][:2] == [63, 62]
        assert len(fetching.queue.leases) == 2
        await asyncio.sleep(LONGEST)
        assert [one.limit for one in fetching.queue.leases][2:] == [20]
        await fetching.close()

    run(main())
