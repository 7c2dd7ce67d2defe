"""Asking for work."""

from __future__ import annotations

import asyncio
from collections import deque

import pytest

from support.fake_queue import delivery
from support.virtual import run
from unit.worker.parts import Fetching, settle_down
from xqueue_core.errors import LeaseLost, Refused, Unavailable, Unknown
from xqueue_core.handlers import Kind
from xqueue_core.worker.fetcher import LINGER
from xqueue_core.worker.tools import Term


def numbers(fetching: Fetching) -> list[int]:
    """Call numbers, as they were used."""
    return [one.call for one in fetching.queue.leases]


def test_it_asks_for_free_slots_and_the_prefetch_and_no_more() -> None:
    async def main() -> None:
        fetching = Fetching()
        fetching.queue.add(*(delivery(str(n)) for n in range(20)))
        await settle_down()
        assert len(fetching.jobs) == 6
        assert fetching.queue.leases[0].limit == 6
        assert len(fetching.queue.leases) == 1
        fetching.desk.leave(fetching.jobs[0])
        fetching.fetcher.poke()
        await settle_down()
        assert [one.limit for one in fetching.queue.leases] == [6, 1]
        assert numbers(fetching) == [1, 2]
        await fetching.close()

    run(main())


def test_with_a_large_prefetch_it_asks_for_several_at_a_time() -> None:
    async def main() -> None:
        fetching = Fetching(concurrency=8, prefetch=8)
        fetching.queue.add(*(delivery(str(n)) for n in range(40)))
        await settle_down()
        for n in range(4):
            assert len(fetching.queue.leases) == 1
            fetching.desk.leave(fetching.jobs[n])
            fetching.fetcher.poke()
            await settle_down()
        assert [one.limit for one in fetching.queue.leases] == [16, 4]
        await fetching.close()

    run(main())


def test_what_an_unanswered_call_took_is_collected_though_there_is_no_room() -> None:
    async def main() -> None:
        fetching = Fetching()
        fetching.queue.add(*(delivery(f"a{n}") for n in range(6)))
        await settle_down()
        for job in fetching.jobs[:4]:
            fetching.desk.leave(job)
        fetching.queue.lose["lease"] = deque([Unknown("the reply was lost")])
        fetching.queue.add(*(delivery(f"b{n}") for n in range(4)))
        fetching.fetcher.poke()
        await settle_down()
        assert len(fetching.jobs) == 6
        fetching.desk.slots = 1  # as the scaler may take slots away
        await asyncio.sleep(5)
        assert len(fetching.jobs) == 10
        assert fetching.fetcher.answered == numbers(fetching)[-1]
        await fetching.close()

    run(main())


def test_after_a_full_answer_it_gives_short_tasks_the_time_to_end() -> None:
    async def main() -> None:
        fetching = Fetching(concurrency=8, prefetch=8)
        await asyncio.sleep(0.02)
        fetching.queue.add(*(delivery(str(n)) for n in range(40)))
        await settle_down()
        for job in fetching.jobs[:8]:
            fetching.desk.leave(job)
        fetching.fetcher.poke()
        await asyncio.sleep(0.02 * LINGER * 0.9)
        assert [one.limit for one in fetching.queue.leases] == [16]
        for job in fetching.jobs[8:16]:
            fetching.desk.leave(job)
        await asyncio.sleep(0.02 * LINGER * 0.2)
        assert [one.limit for one in fetching.queue.leases] == [16, 16]
        await fetching.close()

    run(main())


def test_an_answer_is_full_too_that_brings_all_that_permits_allow() -> None:
    async def main() -> None:
        fetching = Fetching(concurrency=8, prefetch=8)
        fetching.limiter.allowed["job"] = 12
        fetching.limiter.patient.add("job")
        await asyncio.sleep(0.02)
        fetching.queue.add(*(delivery(str(n)) for n in range(40)))
        await settle_down()
        for job in fetching.jobs[:8]:
            fetching.desk.leave(job)
        fetching.fetcher.poke()
        await asyncio.sleep(0.02 * LINGER * 0.9)
        assert [one.wants["job"] for one in fetching.queue.leases] == [12]
        await asyncio.sleep(0.02 * LINGER * 0.2)
        assert [one.wants["job"] for one in fetching.queue.leases] == [12, 12]
        await fetching.close()

    run(main())


@pytest.mark.parametrize("error", [Unknown("?"), Unavailable("away"), RuntimeError("bug")])
def test_an_unanswered_number_is_repeated_before_a_new_one(error: Exception) -> None:
    async def main() -> None:
        fetching = Fetching()
        fetching.queue.lose["lease"] = deque([error])
        fetching.queue.add(delivery("one"))
        while not fetching.jobs:
            assert fetching.fetcher.answered == 0
            await asyncio.sleep(0.01)
        await settle_down()
        assert numbers(fetching)[:2] == [1, 1]
        assert fetching.fetcher.answered >= 1
        assert len(fetching.jobs) == 1
        await fetching.close()

    run(main())


def test_a_waiting_call_is_repeated_under_its_number_when_wants_change() -> None:
    async def main() -> None:
        fetching = Fetching("job", "plain")
        fetching.limiter.allowed["plain"] = 0
        fetching.queue.hang.add("lease")
        await settle_down()
        assert fetching.queue.leases[-1].wants == {"job": 6, "plain": 0}
        fetching.limiter.allowed["plain"] = 1
        fetching.fetcher.poke()
        await settle_down()
        assert numbers(fetching) == [1, 1]
        assert fetching.queue.leases[-1].wants == {"job": 6, "plain": 1}
        fetching.limiter.allowed["plain"] = None
        fetching.fetcher.poke()
        await settle_down()
        assert fetching.queue.leases[-1].wants == {"job": 6}
        fetching.fetcher.poke()  # nothing changed: the call goes on
        await settle_down()
        assert numbers(fetching) == [1, 1, 1]
        fetching.queue.hang.clear()
        await fetching.close()

    run(main())


def test_with_permits_in_hand_it_does_not_wait() -> None:
    async def main() -> None:
        fetching = Fetching("job", "plain")
        fetching.limiter.idle = True
        fetching.limiter.allowed["job"] = 2
        fetching.queue.hang.add("lease")
        await settle_down()
        [call] = fetching.queue.leases
        assert (call.wants["job"], call.wait) == (2, 0.0)
        fetching.limiter.allowed = {"job": 0}
        fetching.fetcher.poke()
        await settle_down()
        assert fetching.queue.leases[-1].wait == 5.0
        fetching.queue.hang.clear()
        fetching.fetcher.quiet = True
        fetching.fetcher.poke()
        await fetching.close()

    run(main())


def test_plain_functions_are_fetched_for_threads_not_for_slots() -> None:
    async def main() -> None:
        fetching = Fetching("plain", concurrency=100, prefetch=25, threads=8)
        fetching.queue.add(*(delivery(str(n), "plain") for n in range(50)))
        await settle_down()
        assert len(fetching.jobs) == 10  # 8 threads and 2 ahead
        await fetching.close()

    run(main())


@pytest.mark.parametrize("lane", ["isolated", "isolated+job"])
def test_isolated_tasks_are_fetched_for_children_and_hold_up_no_other_lane(lane: str) -> None:
    async def main() -> None:
        fetching = Fetching(
            lane, "plain", "job", prefetch=2, threads=8, concurrency=100, children=2
        )
        fetching.queue.add(*(delivery(str(n), lane) for n in range(50)))
        await settle_down()
        assert len(fetching.jobs) == 3  # 2 children and 1 ahead
        assert fetching.desk.room_of(Kind.PROCESS) == 0
        fetching.queue.add(delivery("a", "plain"), delivery("b"))
        await settle_down()
        assert [job.id for job in fetching.jobs[3:]] == ["plain:a", "job:b"]
        fetching.desk.leave(fetching.jobs[0])
        fetching.fetcher.poke()
        await settle_down()
        assert len(fetching.jobs) == 6
        await fetching.close()

    run(main())


def test_nothing_is_fetched_while_one_must_run_alone() -> None:
    async def main() -> None:
        fetching = Fetching()
        fetching.queue.add(delivery("suspect", losses=2))
        await settle_down()
        fetching.desk.solitary = True
        fetching.queue.add(delivery("other"))
        fetching.fetcher.poke()
        await asyncio.sleep(10)
        assert len(fetching.jobs) == 1
        fetching.desk.leave(fetching.jobs[0])
        fetching.desk.solitary = False
        fetching.fetcher.poke()
        await settle_down()
        assert len(fetching.jobs) == 2
        await fetching.close()

    run(main())


def test_the_brake_stops_it() -> None:
    async def main() -> None:
        fetching = Fetching()
        fetching.braked = True
        await asyncio.sleep(10)
        assert fetching.queue.leases == []
        fetching.braked = False
        fetching.fetcher.poke()
        await settle_down()
        assert len(fetching.queue.leases) == 1
        await fetching.close()

    run(main())


def test_quiet_collects_what_an_unanswered_call_took_and_asks_no_more() -> None:
    async def main() -> None:
        fetching = Fetching()
        await settle_down()
        # The call takes work, and the wish to be quiet comes before its answer.
        fetching.queue.answers = {1: [delivery("taken")]}
        fetching.fetcher.quiet = True
        fetching.fetcher.poke()
        await asyncio.sleep(10)
        assert [(one.call, one.wants) for one in fetching.queue.leases] == [
            (1, {"job": 6}),
            (1, {}),
        ]
        assert [job.id for job in fetching.jobs] == ["job:taken"]
        fetching.fetcher.quiet = False
        fetching.fetcher.poke()
        await settle_down()
        assert numbers(fetching) == [1, 1, 2]
        await fetching.close()

    run(main())


def test_what_an_unanswered_call_took_is_fetched_though_every_lane_is_paused() -> None:
    async def main() -> None:
        fetching = Fetching()
        await settle_down()
        fetching.queue.answers = {1: [delivery("taken")]}
        fetching.fetcher.paused = frozenset({"job"})
        fetching.fetcher.poke()
        await asyncio.sleep(10)
        assert [(one.call, one.wants) for one in fetching.queue.leases] == [
            (1, {"job": 6}),
            (1, {}),
        ]
        assert [job.id for job in fetching.jobs] == ["job:taken"]
        await fetching.close()

    run(main())


def test_closing_ends_it_with_every_call_answered() -> None:
    async def main() -> None:
        fetching = Fetching()
        await settle_down()
        await fetching.close()
        assert [one.wants for one in fetching.queue.leases] == [{"job": 6}, {}]
        assert fetching.fetcher.answered == 1

    run(main())


def test_a_worker_that_is_not_known_registers_first() -> None:
    async def main() -> None:
        fetching = Fetching()
        fetching.queue.fail["lease"] = deque([LeaseLost("who?")])
        await asyncio.sleep(3)
        assert fetching.registered == 1
        assert numbers(fetching) == [1, 1]
        await fetching.close()

    run(main())


def test_a_refused_number_is_not_used_again() -> None:
    async def main() -> None:
        fetching = Fetching()
        fetching.queue.fail["lease"] = deque([Refused("old")])
        await asyncio.sleep(3)
        assert numbers(fetching) == [1, 2]
        await fetching.close()

    run(main())


def test_an_outage_is_waited_out_with_growing_pauses() -> None:
    async def main() -> None:
        fetching = Fetching()
        errors: deque[Exception] = deque(Unavailable("away") for _ in range(200))
        fetching.queue.fail["lease"] = errors
        await asyncio.sleep(30)
        assert 15 < len(fetching.queue.leases) < 80
        errors.clear()
        fetching.queue.add(delivery("after"))
        await asyncio.sleep(3)
        assert [job.id for job in fetching.jobs] == ["job:after"]
        await fetching.close()

    run(main())


def test_what_was_fetched_across_a_lapsed_lease_is_asked_for_again() -> None:
    async def main() -> None:
        fetching = Fetching()
        await settle_down()
        fetching.queue.add(delivery("lost"), delivery("kept"))
        fetching.spell += 1  # dead and alive again while the call was under way
        await settle_down()
        assert numbers(fetching)[:2] == [1, 1]
        assert fetching.answers[0][1].deliveries == fetching.queue.answers[1]
        assert len(fetching.answers) == 1
        assert fetching.fetcher.answered == 1
        await fetching.close()

    run(main())


def test_a_term_counts_its_breaks() -> None:
    term = Term(8.0)
    term.acknowledged(100.0)
    first = term.spell
    term.acknowledged(107.9)
    term.acknowledged(101.0)
    assert term.spell == first
    term.acknowledged(107.9 + 8.0)
    assert term.spell == first + 1
    term.end()
    term.acknowledged(200.0)
    assert (term.spell, term.fresh(200.0)) == (first + 1, False)
