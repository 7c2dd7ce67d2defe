"""Keys' lines: who is let go, and when."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from itertools import pairwise

import pytest

from support.fake_queue import FakeQueue
from support.virtual import run, tools
from unit.worker.parts import settle_down
from xqueue_core.abc import Semaphore
from xqueue_core.calls import Line, Unpark
from xqueue_core.calls import Lines as Page
from xqueue_core.errors import Unavailable
from xqueue_core.permits import Answer, KeyInfo, Permit, Renewed, Request
from xqueue_core.worker.lines import GATHER, KEYS, Lines, divided


class Known(Semaphore):
    """A semaphore that only knows who holds what."""

    def __init__(self, **holders: int) -> None:
        self.limit: int | None = 3
        self.holders: dict[str, int] = holders

    async def acquire(self, requests: Sequence[Request], wait: float) -> list[Answer]:
        raise AssertionError("not asked for here")

    async def renew(
        self,
        worker: str,
        permits: Sequence[Permit],
        watch: Sequence[str],
        lease: float,
        heartbeat: float = 0.0,
    ) -> Renewed:
        raise AssertionError("not asked for here")

    async def release(self, permits: Sequence[Permit]) -> None:
        raise AssertionError("not asked for here")

    async def set_limit(self, key: str, limit: int | None, *, pinned: bool = True) -> None:
        raise AssertionError("not asked for here")

    async def inspect(self, keys: Sequence[str]) -> list[KeyInfo]:
        return [KeyInfo(key=key, limit=self.limit, holders=self._of(key)) for key in keys]

    def _of(self, key: str) -> dict[str, str]:
        count = self.holders.get(key.rpartition(":")[2], 0)
        return {str(n): "w" for n in range(count)}


def counts(queue: FakeQueue) -> list[tuple[str, int]]:
    """What was unparked: keys and how many."""
    return [(one.key, one.count) for one in queue.commands if isinstance(one, Unpark)]


def test_a_permit_that_is_given_back_lets_one_go() -> None:
    async def main() -> None:
        queue = FakeQueue()
        lines = Lines(queue, Known(), ["job"], tools())
        task = asyncio.create_task(lines.run())
        back = [
            Permit(id="1", key="key:job:a:b", token=1),
            Permit(id="2", key="key:job:a:b", token=2),
        ]
        lines.released([*back, Permit(id="3", key="lane:job", token=3)])
        lines.released([Permit(id="4", key="key:job:c")])  # only left the line
        await asyncio.sleep(GATHER)
        await settle_down()
        assert counts(queue) == [("a:b", 2)]
        task.cancel()

    run(main())


def test_a_key_whose_line_is_known_waits_for_no_others() -> None:
    async def main() -> None:
        queue, semaphore = FakeQueue(), Known(full=3)
        queue.lines = [Line(lane="job", key="full", waiting=1)]
        lines = Lines(queue, semaphore, ["job"], tools())
        task = asyncio.create_task(lines.run())
        known, other = (Permit(id=key, key=f"key:job:{key}", token=1) for key in ("full", "other"))
        assert lines.unhurried(known)
        lines.parked("job", "full")
        await settle_down()
        await lines.look(semaphore)
        assert (lines.unhurried(known), lines.unhurried(other)) == (False, True)
        lines.released([known])
        await settle_down()
        assert counts(queue) == [("full", 1)]
        queue.lines = []
        await lines.look(semaphore)
        assert lines.unhurried(known)
        task.cancel()

    run(main())


def test_of_many_keys_that_came_free_only_those_with_a_line_are_let_go() -> None:
    async def main() -> None:
        queue = FakeQueue()
        lines = Lines(queue, Known(), ["job"], tools())
        task = asyncio.create_task(lines.run())
        back = [Permit(id=key, key=f"key:job:{key}", token=1) for key in ("a", "b", "c")]
        queue.lines = [Line(lane="job", key="b", waiting=4)]
        lines.released(back)
        await asyncio.sleep(GATHER)
        await settle_down()
        assert counts(queue) == [("b", 1)]
        assert not lines.unhurried(back[1])  # its line is known from now on
        queue.lines = [Line(lane="job", key="d", waiting=4)]
        queue.more = "d"  # there are more lines than were told
        lines.released(back)
        await asyncio.sleep(GATHER)
        await settle_down()
        assert sorted(counts(queue)[1:]) == [("a", 1), ("b", 1), ("c", 1)]
        queue.more, queue.fail["parked"] = None, deque([Unavailable("away")])
        lines.released(back[:2])
        await asyncio.sleep(GATHER)
        await settle_down()
        assert sorted(counts(queue)[4:]) == [("a", 1), ("b", 1)]
        task.cancel()

    run(main())


def test_a_key_that_came_free_while_its_task_was_parked_is_noticed() -> None:
    async def main() -> None:
        queue = FakeQueue()
        lines = Lines(queue, Known(full=3, free=1), ["job"], tools())
        task = asyncio.create_task(lines.run())
        lines.parked("job", "full")
        lines.parked("job", "free")
        await settle_down()
        assert counts(queue) == [("free", 2)]
        task.cancel()

    run(main())


def test_two_looks_that_agree_let_go_what_is_missing() -> None:
    async def main() -> None:
        queue = FakeQueue()
        semaphore = Known(a=1, b=3)
        queue.lines = [
            Line(lane="job", key="a", waiting=5),
            Line(lane="job", key="b", waiting=5),
        ]
        lines = Lines(queue, semaphore, ["job"], tools())
        await lines.look(semaphore)
        assert counts(queue) == []  # a task just let go may be on its way to its permit
        semaphore.holders["a"] = 2
        await lines.look(semaphore)
        assert counts(queue) == [("a", 1)]
        semaphore.limit = None  # nobody has said it since the semaphore was lost
        await lines.look(semaphore)
        assert counts(queue)[1:] == [("a", 1)]
        queue.lines = []
        await lines.look(semaphore)
        assert len(counts(queue)) == 2

    run(main())


class Asked(Known):
    """Notes how many keys it is asked for at a time, and takes a while for each."""

    def __init__(self, seconds: float = 0.0, **holders: int) -> None:
        super().__init__(**holders)
        self.seconds = seconds
        self.sizes: list[int] = []
        self.times: list[float] = []  # at which the first key was asked for
        self.fail: deque[Exception | None] = deque()

    async def inspect(self, keys: Sequence[str]) -> list[KeyInfo]:
        self.sizes.append(len(keys))
        if keys[0] == "key:job:0":
            self.times.append(asyncio.get_running_loop().time())
        if self.fail and (error := self.fail.popleft()):
            raise error
        if self.seconds:
            await asyncio.sleep(self.seconds)
        return await super().inspect(keys)


def many(count: int) -> list[Line]:
    return [Line(lane="job", key=f"{n}", waiting=5) for n in range(count)]


def test_many_lines_are_looked_at_in_parts_with_a_turn_for_others_between() -> None:
    async def main() -> None:
        queue, semaphore = FakeQueue(), Asked()
        queue.lines = many(1_000)
        lines = Lines(queue, semaphore, ["job"], tools())
        turns: list[int] = []

        async def others() -> None:
            while True:
                turns.append(len(semaphore.sizes))
                await asyncio.sleep(0)

        task = asyncio.create_task(others())
        await lines.look(semaphore)
        assert (sum(semaphore.sizes), max(semaphore.sizes)) == (1_000, KEYS)
        assert set(turns) >= set(range(1, len(semaphore.sizes) + 1))
        await lines.look(semaphore)
        assert sorted(counts(queue)) == sorted((f"{n}", 3) for n in range(1_000))
        task.cancel()

    run(main())


def test_of_many_keys_without_a_limit_each_goes_in_growing_steps() -> None:
    async def main() -> None:
        queue, semaphore = FakeQueue(), Asked()
        semaphore.limit = None
        queue.lines = [Line(lane="job", key=f"{n}", waiting=99) for n in range(2 * KEYS)]
        lines = Lines(queue, semaphore, ["job"], tools())
        for _ in range(4):
            await lines.look(semaphore)
        for n in (0, KEYS - 1, KEYS, 2 * KEYS - 1):
            assert [count for key, count in counts(queue) if key == f"{n}"] == [1, 4, 16]

    run(main())


def test_a_look_that_fails_half_way_is_made_up_for_by_the_next() -> None:
    async def main() -> None:
        queue, semaphore = FakeQueue(), Asked()
        queue.lines = many(3 * KEYS)
        lines = Lines(queue, semaphore, ["job"], tools())
        await lines.look(semaphore)
        semaphore.fail.extend([None, Unavailable("away")])
        with pytest.raises(Unavailable):
            await lines.look(semaphore)
        assert len(counts(queue)) == KEYS
        queue.commands.clear()
        await lines.look(semaphore)
        assert len(counts(queue)) == 3 * KEYS

    run(main())


@pytest.mark.parametrize("seconds", [0.1, 0.3, 0.5])
def test_each_line_is_looked_at_every_two_seconds_though_a_look_takes_long(seconds: float) -> None:
    async def main() -> None:
        queue, semaphore = FakeQueue(), Asked(seconds)
        queue.lines = many(3 * KEYS)
        task = asyncio.create_task(Lines(queue, semaphore, ["job"], tools()).watch())
        await asyncio.sleep(20.0)
        pauses = [late - early for early, late in pairwise(semaphore.times)]
        assert max(pauses) <= 2.0
        assert min(pauses) >= 3 * seconds + 0.2  # others have a turn, too
        task.cancel()

    run(main())


def test_the_whole_line_goes_in_growing_steps_when_its_keys_limit_is_removed() -> None:
    async def main() -> None:
        queue, semaphore = FakeQueue(), Known(a=3)
        queue.lines = [Line(lane="job", key="a", waiting=5_000)]
        lines = Lines(queue, semaphore, ["job"], tools())
        await lines.look(semaphore)
        semaphore.limit = None
        for _ in range(8):
            await lines.look(semaphore)
        assert [count for _, count in counts(queue)] == [1, 4, 16, 64, 256, 1000, 1000]
        semaphore.limit = 3
        await lines.look(semaphore)
        semaphore.limit = None  # nobody has said it since its last task ended: one will
        queue.commands.clear()
        await lines.look(semaphore)
        await lines.look(semaphore)
        assert counts(queue) == [("a", 1)]

    run(main())


def test_looks_come_twice_within_two_seconds_and_survive_an_outage() -> None:
    async def main() -> None:
        queue = FakeQueue()
        queue.lines = [Line(lane="job", key="a", waiting=5)]
        task = asyncio.create_task(Lines(queue, Known(), ["job"], tools()).watch())
        await asyncio.sleep(1.9)
        assert len(counts(queue)) >= 1
        queue.fail["parked"] = deque([Unavailable("away"), RuntimeError("bug")])
        before = len(counts(queue))
        await asyncio.sleep(5)
        assert len(counts(queue)) > before
        task.cancel()

    run(main())


@pytest.mark.parametrize("at", [0.1, 0.8, 1.5, 2.7, 3.3])
def test_a_line_that_appears_at_any_time_is_let_go_within_two_seconds(at: float) -> None:
    async def main() -> None:
        queue = FakeQueue()
        task = asyncio.create_task(Lines(queue, Known(), ["job"], tools()).watch())
        await asyncio.sleep(at)
        queue.lines = [Line(lane="job", key="a", waiting=5)]
        await asyncio.sleep(1.75)
        assert counts(queue)[:1] == [("a", 3)]
        task.cancel()

    run(main())


def test_it_is_asked_less_often_while_there_is_no_line() -> None:
    class Counting(FakeQueue):
        asked = 0

        async def parked(self, lanes: Sequence[str], after: str | None, limit: int) -> Page:
            self.asked += 1
            return await super().parked(lanes, after, limit)

    async def main() -> None:
        queue = Counting()
        task = asyncio.create_task(Lines(queue, Known(), ["job"], tools()).watch())
        await asyncio.sleep(60.0)
        assert queue.asked <= 44
        task.cancel()

    run(main())


def test_a_key_with_a_line_per_shard_goes_oldest_head_first() -> None:
    lines = [
        Line(lane="job", key="a", waiting=1, shard="s1", head_at=30.0),
        Line(lane="job", key="a", waiting=5, shard="s2", head_at=10.0),
        Line(lane="job", key="a", waiting=5, shard="s3", head_at=20.0),
    ]

    def shares(count: int) -> dict[str, int]:
        return {one.shard: one.count for one in divided(lines, count)}

    assert shares(1) == {"s2": 1}
    assert shares(4) == {"s2": 2, "s3": 1, "s1": 1}
    assert shares(100) == {"s1": 1, "s2": 5, "s3": 5}
    assert divided([], 3) == []
