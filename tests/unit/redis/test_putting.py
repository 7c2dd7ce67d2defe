"""How tasks are handed in: portion after portion, encoded while the one before is under way."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from xqueue_core.calls import Accepted, Capabilities, Put
from xqueue_core.errors import Unknown
from xqueue_core.task import Task
from xqueue_redis.portions import BYTES
from xqueue_redis.putting import PORTION, Putter

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Scripts:
    """Answers each call when it is told to, with '' for each task."""

    def __init__(self) -> None:
        self.calls: list[tuple[list[str], bool]] = []
        self.bytes: list[int] = []  # of the envelopes of each call
        self.under_way = 0
        self.most = 0
        self.gates: list[asyncio.Future[None]] = []

    async def run(self, name: str, *given: Any, begun: bool) -> list[bytes]:
        assert name == "put"
        self.calls.append((list(given[::4]), begun))
        self.bytes.append(sum(map(len, given[2::4])))
        gate = asyncio.get_running_loop().create_future()
        self.gates.append(gate)
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            await gate
        finally:
            self.under_way -= 1
        return [f"a:of{one}".encode() if one.endswith("taken") else b"" for one in given[::4]]

    async def open(self, call: int) -> None:
        """Let a call be answered, once it is there."""
        while len(self.gates) <= call:
            await asyncio.sleep(0)
        self.gates[call].set_result(None)


def some(count: int) -> list[Task]:
    return [Task(id=f"a:{n}", lane="a") for n in range(count)]


def put(scripts: Scripts, tasks: list[Task]) -> asyncio.Task[list[Accepted]]:
    putter = Putter(scripts.run, Capabilities())
    return asyncio.create_task(putter.put(tasks, 0.0))


async def test_portions_go_in_their_order_and_one_at_a_time() -> None:
    scripts, tasks = Scripts(), some(2 * PORTION + 7)
    putting = put(scripts, tasks)
    for call in range(3):
        await scripts.open(call)
    assert await putting == [Accepted(Put.NEW)] * len(tasks)
    assert [id for ids, _ in scripts.calls for id in ids] == [task.id for task in tasks]
    assert [begun for _, begun in scripts.calls] == [False, True, True]
    assert scripts.most == 1


async def test_a_portion_ends_at_its_bytes_too() -> None:
    sizes = [0, *[BYTES // 3] * 4, 2 * BYTES, 0, 0]
    tasks = [
        Task(id=f"a:{n}", lane="a", payload=b"x" * size, priority=10 if n == 3 else 0)
        for n, size in enumerate(sizes)
    ]
    scripts = Scripts()
    putting = asyncio.create_task(
        Putter(scripts.run, Capabilities(max_payload=2**31)).put(tasks, 0.0)
    )
    for call in range(4):
        await scripts.open(call)
    answers = await putting
    assert [one.put for one in answers] == [
        Put.REJECTED if n == 3 else Put.NEW for n in range(len(tasks))
    ]
    assert [[id[2:] for id in ids] for ids, _ in scripts.calls] == [
        ["0", "1", "2"],
        ["4"],
        ["5"],
        ["6", "7"],
    ]


async def test_every_answer_stands_at_its_tasks_place() -> None:
    scripts, tasks = Scripts(), some(PORTION + 2)
    tasks[1] = Task(id="a:taken", lane="a")
    tasks[2] = Task(id="a:2", lane="a", priority=10)
    tasks[-1] = Task(id="a:also taken", lane="a")
    putting = put(scripts, tasks)
    for call in range(2):
        await scripts.open(call)
    answers = await putting
    assert [n for n, one in enumerate(answers) if one.put is not Put.NEW] == [1, 2, PORTION + 1]
    assert (answers[1].of, answers[-1].of) == ("a:ofa:taken", "a:ofa:also taken")
    assert answers[2].put is Put.REJECTED
    assert "a:2" not in scripts.calls[0][0]


async def test_a_portion_that_nobody_takes_is_not_sent() -> None:
    scripts, tasks = Scripts(), some(3 * PORTION)
    for n in (*range(PORTION), *range(2 * PORTION, 3 * PORTION)):
        tasks[n] = Task(id="none", lane="a")
    putting = put(scripts, tasks)
    await scripts.open(0)
    answers = await putting
    assert [one.put for one in answers[:PORTION]] == [Put.REJECTED] * PORTION
    assert [one.put for one in answers[PORTION : 2 * PORTION]] == [Put.NEW] * PORTION
    assert [begun for _, begun in scripts.calls] == [False]


async def test_the_next_portion_is_not_sent_after_a_failure() -> None:
    scripts = Scripts()
    putting = put(scripts, some(3 * PORTION))
    await scripts.open(0)
    while len(scripts.gates) < 2:
        await asyncio.sleep(0)
    scripts.gates[1].set_exception(Unknown("no answer"))
    with pytest.raises(Unknown, match="no answer"):
        await putting
    assert len(scripts.calls) == 2


async def test_cancelling_leaves_no_call_under_way() -> None:
    scripts = Scripts()
    putting = put(scripts, some(2 * PORTION))
    while not scripts.gates:
        await asyncio.sleep(0)
    putting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await putting
    assert scripts.under_way == 0
    assert len(scripts.calls) == 1
