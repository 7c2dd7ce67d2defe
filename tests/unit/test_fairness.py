"""Of any sixteen leases while a lower level waits one is of a lower level (P2.3)."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.queues import Bench, a_task
from xqueue_core.calls import Want
from xqueue_core.stored.fairness import TURN_EVERY, advanced, in_turn, pick
from xqueue_core.stored.layout import Turn, TurnRow, level_of, ready_order
from xqueue_core.stored.records import Row


class Ledger:
    """Watches the leases of one lane, and says whose turn each of them was."""

    def __init__(self) -> None:
        self.contested = 0
        self.last: dict[int, int] = {}
        self.low: list[int] = []  # numbers of the contested leases that went to a lower level

    def note(self, level: int, waiting: Iterable[int]) -> None:
        """A task of this level was leased while tasks of these levels waited, its own too."""
        levels = set(waiting)
        top = max(levels)
        if len(levels) == 1:
            assert level == top
            return
        self.contested += 1
        if level != top:
            oldest = min(self.last.get(n, 0) for n in levels - {top})
            assert self.last.get(level, 0) == oldest, "another level has waited longer"
            self.last[level] = self.contested
            self.low.append(self.contested)

    def check(self) -> None:
        """Exactly one of any sixteen consecutive contested leases went to a lower level."""
        assert self.low == list(range(TURN_EVERY, self.contested + 1, TURN_EVERY))


class Lane:
    """Rows of a ready bucket, read as ``pick`` wants them to be read."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self._made = 0

    def add(self, level: int) -> None:
        self._made += 1
        row = Row(f"t/{self._made}", 1, b"", "ready/lane", ready_order(level, self._made))
        self.rows = sorted([*self.rows, row], key=lambda row: (row.order, row.key))

    def levels(self) -> list[int]:
        return [level_of(row.order) for row in self.rows]

    def read(self, limit: int) -> list[Row]:
        first, rest = self.rows[:limit], self.rows[limit:]
        seen: Counter[int] = Counter()
        for row in rest:
            seen[level_of(row.order)] += 1
            if seen[level_of(row.order)] <= limit // TURN_EVERY + 2:
                first.append(row)
        return first

    def take(self, rows: Sequence[Row], ledger: Ledger) -> None:
        for row in rows:
            ledger.note(level_of(row.order), self.levels())
            self.rows.remove(row)


@given(st.lists(st.tuples(st.lists(st.integers(0, 9), max_size=30), st.integers(1, 40))))
def test_pick_is_fair_whatever_arrives(batches: list[tuple[list[int], int]]) -> None:
    lane, ledger, turn = Lane(), Ledger(), Turn()
    for arrivals, limit in batches:
        for level in arrivals:
            lane.add(level)
        if not lane.rows:
            continue
        before = turn
        copied = Turn(turn.count, dict(turn.last))
        rows, turn = pick(lane.read(limit), limit, turn)
        assert before == copied, "the turn given was changed"
        assert len(rows) == min(limit, len(lane.rows))
        lane.take(rows, ledger)
    ledger.check()


@given(st.integers(1, 50), st.integers(1, 9))
def test_the_lowest_makes_progress_under_a_steady_stream(limit: int, top: int) -> None:
    lane, ledger, turn = Lane(), Ledger(), Turn()
    for level in (0, 0, 0, top - 1, top - 1):
        lane.add(level)
    taken = 0
    while taken < 16 * 6:
        for _ in range(limit):
            lane.add(top)
        rows, turn = pick(lane.read(limit), limit, turn)
        lane.take(rows, ledger)
        taken += len(rows)
    ledger.check()
    assert not {0, top - 1} - {top} & set(lane.levels())


def test_within_a_level_the_first_to_arrive_is_the_first() -> None:
    lane = Lane()
    for level in (3, 7, 3, 7):
        lane.add(level)
    rows, _ = pick(lane.read(4), 4, Turn())
    assert [row.key for row in rows] == ["t/2", "t/4", "t/1", "t/3"]


def test_lanes_are_served_in_turn() -> None:
    lanes = {"a": [1, 2, 3], "b": [4], "c": [5, 6]}
    assert in_turn(lanes, "", 4) == [("a", 1), ("b", 4), ("c", 5), ("a", 2)]
    assert in_turn(lanes, "a", 9) == [
        ("b", 4), ("c", 5), ("a", 1), ("c", 6), ("a", 2), ("a", 3),
    ]  # fmt: skip
    assert in_turn(lanes, "c", 1) == [("a", 1)]
    assert in_turn({}, "a", 1) == []
    assert in_turn(lanes, "a", 0) == []


@given(st.dictionaries(st.sampled_from("abcdef"), st.lists(st.integers(), max_size=5)))
def test_in_turn_takes_everything_once_if_it_may(lanes: dict[str, list[int]]) -> None:
    taken = in_turn(lanes, "c", 100)
    by_lane: dict[str, list[int]] = defaultdict(list)
    for lane, item in taken:
        by_lane[lane].append(item)
    assert by_lane == {lane: items for lane, items in lanes.items() if items}


def test_advanced_changes_nothing_of_what_it_is_given() -> None:
    row = TurnRow(1, "a", {"a": Turn(5, {0: 3})})
    new = advanced(row, 2, "b", {"b": Turn(1)})
    assert row == TurnRow(1, "a", {"a": Turn(5, {0: 3})})
    assert new == TurnRow(2, "b", {"a": Turn(5, {0: 3}), "b": Turn(1)})


# -- through the queue ---------------------------------------------------------------------------


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def _run(
    seed: int, lanes: Sequence[str], wants: Sequence[int], limits: Sequence[int]
) -> None:
    """One worker leases from random arrivals until all is done; every lane must be fair."""
    dice, bench = Random(seed), Bench()
    await bench.beat("worker")
    waiting: dict[str, list[int]] = {lane: [] for lane in lanes}
    ledgers = {lane: Ledger() for lane in lanes}
    made = call = 0
    while made < 400 or any(waiting.values()):
        tasks = []
        for _ in range(dice.choice([0, 1, 20, 40]) if made < 400 else 0):
            lane, level = dice.choice(lanes), dice.choice([0, 4, 5, 9, 9])
            tasks.append(a_task(made, lane=lane, priority=level))
            waiting[lane].append(level)
            made += 1
        await bench.put(*tasks)
        call += 1
        asked = [Want(lane, dice.choice(wants)) for lane in lanes]
        leased = await bench.queue.lease(asked, dice.choice(limits), call, "worker", 0.0)
        for one in leased.deliveries:
            ledgers[one.task.lane].note(one.task.priority, waiting[one.task.lane])
            waiting[one.task.lane].remove(one.task.priority)
            await bench.settle(one)
        bench.later(0.1)
        await bench.beat("worker")
    for ledger in ledgers.values():
        ledger.check()
        assert ledger.low


@pytest.mark.anyio
@pytest.mark.parametrize("limits", [[1], [5], [1, 3, 16, 40]], ids=str)
@pytest.mark.parametrize("seed", range(3))
async def test_a_worker_of_one_lane_is_fair(seed: int, limits: list[int]) -> None:
    await _run(seed, ["lane"], [100], limits)


@pytest.mark.anyio
@pytest.mark.parametrize("limits", [[10], [16], [1, 3, 16, 40]], ids=str)
@pytest.mark.parametrize("seed", range(3))
async def test_a_worker_of_several_lanes_is_fair_in_each(seed: int, limits: list[int]) -> None:
    await _run(seed, ["one", "two", "three"], [3, 100], limits)
