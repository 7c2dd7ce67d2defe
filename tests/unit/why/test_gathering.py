"""The gathering of evidence: which calls are made, how many, and what a lack of answers becomes."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from support.client_fakes import FakeQueue, FakeView
from support.evidence import LANE, NOW, info, task, worker
from xqueue_core.abc import Faces
from xqueue_core.calls import Line, Lines
from xqueue_core.errors import Unavailable, Unsupported
from xqueue_core.permits import KeyInfo
from xqueue_core.task import State
from xqueue_core.views import Filter, LaneStats, Stats, TaskInfo, Tasks, TypeStats, WorkerInfo
from xqueue_core.why import Ahead, ask, evidence, gather

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class View(FakeView):
    """Counts calls; ``others`` are what it lists, ``lacks`` what it cannot answer."""

    def __init__(self, calls: Counter[str]) -> None:
        super().__init__()
        self.calls = calls
        self.others: list[TaskInfo] = []
        self.lacks: set[str] = set()
        self.at = NOW
        self.row = TypeStats(pending=3)
        self.moves: list[TaskInfo] = []
        self.in_order = False
        self.wanted = Filter(states=frozenset({State.PENDING}), lanes=frozenset({LANE}))

    def _called(self, what: str) -> None:
        self.calls[what] += 1
        if what in self.lacks:
            raise Unsupported(f"no {what}")

    async def find(self, ids: Sequence[str]) -> Sequence[TaskInfo | None]:
        self._called("find")
        if self.calls["find"] > 1 and self.moves:
            moved = self.moves.pop(0)
            self.infos[moved.id] = moved
        return await super().find(ids)

    async def list(self, filter: Filter, after: str | None, limit: int) -> Tasks:
        self._called("list")
        assert filter == self.wanted
        start = int(after or 0)
        end = start + limit
        more = str(end) if end < len(self.others) else None
        return Tasks(self.others[start:end], more, self.in_order)

    async def stats(self) -> Stats:
        self._called("stats")
        return Stats(at=self.at, lanes={LANE: LaneStats(types={"mail": self.row})})

    async def workers(self) -> Sequence[WorkerInfo]:
        self._called("workers")
        return [worker()]


class Queue(FakeQueue):
    """Has lines of parked tasks."""

    def __init__(self, calls: Counter[str]) -> None:
        super().__init__()
        self.calls = calls
        self.lines: list[list[Line]] = [[]]

    async def parked(self, lanes: Sequence[str], after: str | None, limit: int) -> Lines:
        self.calls["parked"] += 1
        page = int(after or 0)
        return Lines(self.lines[page], str(page + 1) if page + 1 < len(self.lines) else None)


class Permits:
    """A semaphore that can only be inspected."""

    def __init__(self, calls: Counter[str]) -> None:
        self.calls = calls
        self.fault: Exception | None = None
        self.hangs = False

    async def inspect(self, keys: Sequence[str]) -> Sequence[KeyInfo]:
        self.calls["inspect"] += 1
        if self.hangs:
            await asyncio.Event().wait()
        if self.fault is not None:
            raise self.fault
        return [KeyInfo(key=key, limit=1) for key in keys]


class Broker:
    """All of it."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.view = View(self.calls)
        self.queue = Queue(self.calls)
        self.permits = Permits(self.calls)
        self.faces = Faces(self.queue, self.view, self.permits)  # type: ignore[arg-type]

    def has(self, found: TaskInfo) -> None:
        """The task is so."""
        self.view.infos[found.id] = found

    async def gather(self, **options: Any) -> evidence.Evidence:
        """Evidence on the task."""
        return await gather(self.faces, "mail:1", **options)


@pytest.fixture
def broker() -> Broker:
    return Broker()


def other(id: str, rank: int, priority: int = 0, **more: Any) -> TaskInfo:
    """Another task that waits in the lane."""
    fields = {"due_at": NOW - 10, "rank": rank, **more}
    found = task(id, priority=priority)
    return TaskInfo(id=id, lane=LANE, state=State.PENDING, task=found, **fields)


# -- calls -----------------------------------------------------------------------------------------


async def test_of_an_end_or_nothing_little_is_asked(broker: Broker) -> None:
    assert (await broker.gather()).info is None
    assert broker.calls == {"find": 2, "stats": 1}
    broker.has(info(State.SUCCESS))
    await broker.gather()
    assert broker.calls == {"find": 4, "stats": 2}


async def test_of_a_running_task_workers_are_asked_for(broker: Broker) -> None:
    broker.has(info(State.PROCESSING, worker="gone~1"))
    found = await broker.gather()
    assert (found.workers, found.held) == ([worker()], None)
    assert broker.calls == {"find": 2, "stats": 1, "workers": 1}


async def test_what_its_worker_has_is_counted_as_of_its_last_heartbeat(broker: Broker) -> None:
    def one(id: str, worker: str = "w~1", started: float = NOW - 30) -> TaskInfo:
        found = info(State.PROCESSING, worker=worker, started_at=started)
        return msgspec.structs.replace(found, id=id)  # type: ignore[no-any-return]

    broker.view.wanted = Filter(states=frozenset({State.PROCESSING}), lanes=frozenset({LANE}))
    mine = one("mail:1")
    broker.has(mine)
    broker.view.others = [mine, *(one(f"mail:a{n}") for n in range(9))]
    broker.view.others += [one("mail:b", "w~2"), one("mail:c", started=NOW - 0.05)]
    assert (await broker.gather()).held == 10  # one more than run
    assert broker.calls == {"find": 2, "stats": 1, "workers": 1, "list": 1, "inspect": 1}
    broker.view.others.pop(1)
    found = await broker.gather()
    assert (found.held, found.lane_limit) == (9, None)  # all of them run
    assert broker.calls["inspect"] == 1
    broker.has(one("mail:1", started=NOW - 0.05))
    assert (await broker.gather()).held is None  # it came since


async def test_what_its_worker_has_is_not_counted_without_end(broker: Broker) -> None:
    broker.view.wanted = Filter(states=frozenset({State.PROCESSING}), lanes=frozenset({LANE}))
    mine = info(State.PROCESSING, worker="w~1", started_at=NOW - 30)
    broker.has(mine)
    broker.view.others = [mine] * 5000
    assert (await broker.gather()).held is None
    broker.view.lacks = {"list"}
    assert (await broker.gather()).held is None


async def test_of_a_waiting_task_everything_is_asked_once(broker: Broker) -> None:
    broker.has(info(rank=1, options={"key": "k"}))
    found = await broker.gather(where="here")
    assert broker.calls == {"find": 2, "stats": 1, "workers": 1, "inspect": 1, "list": 1}
    assert found.lane_limit == KeyInfo(key="lane:mail", limit=1)
    assert found.key_limit == KeyInfo(key="key:mail:k", limit=1)
    assert (found.at, found.where, found.line, found.untold) == (NOW, "here", None, [])


async def test_who_waits_alone_is_not_counted(broker: Broker) -> None:
    broker.has(info(rank=1))
    broker.view.row = TypeStats(pending=9, parked=8)
    assert (await broker.gather()).ahead == Ahead()
    assert broker.calls["list"] == 0
    broker.view.row = TypeStats(pending=9, parked=7)
    await broker.gather()
    assert broker.calls["list"] == 1


async def test_a_task_that_moves_on_meanwhile_is_asked_about_again(broker: Broker) -> None:
    broker.has(info(seq=1))
    broker.view.moves = [info(State.PROCESSING, seq=2), info(State.PROCESSING, seq=2)]
    found = await broker.gather()
    assert found.info is not None
    assert found.info.state is State.PROCESSING
    assert broker.calls["stats"] == 2
    broker.view.moves = [info(State.PROCESSING, seq=n) for n in range(3, 99)]
    await broker.gather()
    assert broker.calls["stats"] == 2 + evidence.ROUNDS


async def test_a_duplicate_is_followed(broker: Broker) -> None:
    broker.has(info(State.CANCELED, of="mail:2"))
    found = await broker.gather()
    assert (found.id, found.asked) == ("mail:1", "")  # whom it duplicates is not known any more
    broker.has(msgspec.structs.replace(info(), id="mail:2"))
    found = await broker.gather()
    assert (found.id, found.asked) == ("mail:2", "mail:1")
    assert found.info is not None
    assert found.info.state is State.PENDING


async def test_a_broker_without_a_clock_lends_it_from_the_caller(broker: Broker) -> None:
    broker.view.at = 0.0
    assert (await broker.gather(clock=lambda: 7.0)).at == 7.0


# -- order -----------------------------------------------------------------------------------------


async def ahead(broker: Broker, *others: TaskInfo, **mine: Any) -> Ahead | None:
    """Who comes before a task of priority 3 and rank 50."""
    fields = {"rank": 50, "options": {"priority": 3}, **mine}
    broker.has(info(**fields))
    broker.view.others = [*others, broker.view.infos["mail:1"]]
    return (await broker.gather()).ahead


async def test_those_before_it_are_counted_by_level_and_rank(broker: Broker) -> None:
    found = await ahead(
        broker,
        other("mail:a", 90, priority=4),
        other("mail:b", 49, priority=3),
        other("mail:c", 51, priority=3),
        other("mail:d", 1, priority=2),
        other("mail:e", 1, priority=9, waiting_for="key:k"),
    )
    assert found == Ahead(count=2, higher=1)


async def test_where_ranks_are_not_told_times_decide_and_ties_are_not_guessed(
    broker: Broker,
) -> None:
    before, tie = other("mail:a", 0, 3, due_at=NOW - 11), other("mail:b", 0, 3)
    after = other("mail:c", 0, 3, due_at=NOW - 9)
    assert await ahead(broker, before, after, rank=0) == Ahead(count=1)
    assert await ahead(broker, before, tie, after, rank=0) == Ahead(count=1, exact=False)


async def test_counting_stops_at_its_bound(broker: Broker) -> None:
    crowd = [other(f"mail:a{n}", n + 1, priority=4) for n in range(3000)]
    assert await ahead(broker, *crowd) == Ahead(count=1001, higher=1001, exact=False)
    assert broker.calls["list"] == 3


async def test_looking_stops_at_its_bound(broker: Broker) -> None:
    crowd = [other(f"mail:a{n}", n + 1, priority=0) for n in range(9000)]
    assert await ahead(broker, *crowd) == Ahead(exact=False)
    assert broker.calls["list"] == evidence.LOOKED // evidence.PAGE


async def test_where_all_come_in_order_nothing_behind_the_task_is_read(broker: Broker) -> None:
    broker.has(info(rank=50))
    mine = broker.view.infos["mail:1"]
    before = [other(f"mail:a{n}", n + 1) for n in range(3)]
    broker.view.others = [*before, mine, *(other(f"mail:b{n}", n + 99) for n in range(9000))]
    assert (await broker.gather()).ahead == Ahead(count=3, exact=False)
    calls = broker.calls["list"]
    broker.view.in_order = True
    assert (await broker.gather()).ahead == Ahead(count=3)
    assert broker.calls["list"] == calls + 1


async def test_a_key_has_a_line_of_its_own(broker: Broker) -> None:
    broker.queue.lines = [
        [Line(LANE, "other", 7), Line(LANE, "k", 2, "shard1")],
        [Line(LANE, "k", 3, "shard2")],
    ]
    found = await ahead(
        broker,
        other("mail:a", 1, waiting_for="key:k"),
        other("mail:b", 60, priority=9, waiting_for="key:k"),
        other("mail:c", 2, waiting_for="key:other"),
        other("mail:d", 2, priority=9),
        waiting_for="key:k",
        options={"key": "k"},
    )
    assert found == Ahead(count=1)
    assert (await broker.gather()).line == 5


async def test_a_line_that_is_too_far_away_is_not_counted(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evidence, "CALLS", 2)
    broker.queue.lines = [[Line(LANE, "k", 2)], [], [Line(LANE, "k", 1)]]
    broker.has(info(waiting_for="key:k", options={"key": "k"}))
    assert (await broker.gather()).line is None


async def test_where_order_is_kept_per_shard_the_count_is_not_exact(broker: Broker) -> None:
    await ahead(broker, other("mail:b", 49, priority=3))
    assert (await broker.gather(ordered=False)).ahead == Ahead(count=1, exact=False)


# -- what cannot be told --------------------------------------------------------------------


async def test_without_a_view_nothing_is_asked(broker: Broker) -> None:
    broker.faces = broker.faces._replace(view=None)
    found = await broker.gather(clock=lambda: 7.0)
    assert [one.what for one in found.untold] == ["task"]
    assert not broker.calls
    why = await ask(broker.faces, "mail:1")
    assert "cannot be told: this broker cannot be asked for tasks" in why.text()


@pytest.mark.parametrize(
    ("lacks", "what"),
    [("find", "task"), ("stats", "lane"), ("workers", "workers"), ("list", "order")],
)
async def test_what_a_view_cannot_answer_is_noted(broker: Broker, lacks: str, what: str) -> None:
    broker.has(info(rank=1))
    broker.view.lacks = {lacks}
    found = await broker.gather()
    assert [(one.what, one.why) for one in found.untold] == [(what, f"no {lacks}")]


@pytest.mark.parametrize("fault", [Unsupported("lacking"), Unavailable("it is down")])
async def test_a_semaphore_that_does_not_answer_costs_its_part_alone(
    broker: Broker, fault: Exception
) -> None:
    broker.has(info(rank=1))
    broker.permits.fault = fault
    found = await broker.gather()
    assert [(one.what, one.why) for one in found.untold] == [("limits", str(fault))]
    assert found.workers
    assert found.ahead == Ahead()


async def test_a_semaphore_that_hangs_is_not_waited_for(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evidence, "PATIENCE", 0.05)
    broker.has(info(rank=1))
    broker.permits.hangs = True
    [untold] = (await broker.gather()).untold
    assert untold.why == "the semaphore has not answered within 0.05 s"


async def test_a_connection_without_a_semaphore_says_so(broker: Broker) -> None:
    broker.faces = broker.faces._replace(semaphore=None)
    broker.has(info(rank=1))
    why = await ask(broker.faces, "mail:1")
    assert [one.code for one in why.reasons] == ["cannot_tell"]
    assert "XQUEUE_SEMAPHORE_URL" in why.text()


async def test_a_broker_that_is_away_raises(broker: Broker) -> None:
    broker.view.faults = [Unavailable("down")]
    with pytest.raises(Unavailable):
        await broker.gather()
