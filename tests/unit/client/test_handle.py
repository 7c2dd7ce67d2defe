"""Handles: what they raise, whom they follow."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from support.client_fakes import Clock, FakeBroker
from xqueue_core.calls import ALL_ABILITIES, Beat
from xqueue_core.client.client import Client
from xqueue_core.errors import (
    ResultExpired,
    TaskError,
    TaskFailed,
    TaskTimedOut,
    Unavailable,
    Unsupported,
)
from xqueue_core.handle import any_json
from xqueue_core.payload import BYTES
from xqueue_core.settings import Settings
from xqueue_core.task import Failure, State, Task
from xqueue_core.views import WorkerInfo

pytestmark = pytest.mark.anyio


@pytest.fixture
def broker() -> FakeBroker:
    return FakeBroker()


@pytest.fixture
async def client(broker: FakeBroker) -> AsyncIterator[Client]:
    client = Client(broker.connect)
    yield client
    await client.close()


async def test_a_handle_follows_the_task_that_its_own_duplicates(
    client: Client, broker: FakeBroker
) -> None:
    broker.view.tell("t:2", State.CANCELED, of="t:1")
    broker.view.tell("t:1", State.SUCCESS, result=b"7")
    handle = client.handle("t:2")
    assert await handle.result() == 7
    assert (handle.id, handle.duplicate) == ("t:1", True)
    other = client.handle("t:2")
    assert (await other.info()).id == "t:1"


async def test_a_result_that_is_gone_has_expired(client: Client, broker: FakeBroker) -> None:
    broker.view.tell("t:1", State.SUCCESS)
    with pytest.raises(ResultExpired, match="the result of t:1 is no longer kept"):
        await client.handle("t:1").result()


async def test_a_broker_without_results_says_so() -> None:
    broker = FakeBroker(abilities=ALL_ABILITIES - {"RESULTS"})
    client = Client(broker.connect)
    broker.view.tell("t:1", State.SUCCESS)
    with pytest.raises(Unsupported, match="t:1 succeeded, but the broker keeps no results"):
        await client.handle("t:1").result()
    await client.close()


@pytest.mark.parametrize(
    ("state", "failure", "reason", "error", "message"),
    [
        (State.FAILED, None, "worker_lost", TaskFailed, "task t:1 failed: worker_lost"),
        (State.FAILED, Failure("rejected", message="spam"), "", TaskFailed, "failed: spam"),
        (
            State.FAILED,
            Failure("exception", "builtins.KeyError", "'k'"),
            "",
            TaskFailed,
            "failed: KeyError: 'k'$",
        ),
        (State.FAILED, Failure("exception", "Odd"), "", TaskFailed, "failed: Odd$"),
        (State.TIMEOUT, None, "queue_timeout", TaskTimedOut, "took too long: queue_timeout"),
    ],
)
async def test_an_end_is_raised_with_its_reason(
    client: Client,
    broker: FakeBroker,
    state: State,
    failure: Failure | None,
    reason: str,
    error: type[TaskError],
    message: str,
) -> None:
    broker.view.tell("t:1", state, failure=failure, reason=reason)
    with pytest.raises(error, match=message) as caught:
        await client.handle("t:1").result()
    if isinstance(caught.value, TaskFailed):
        assert caught.value.reason == (failure.reason if failure else reason)


async def test_a_failure_tells_its_attempt_and_where_it_was_raised(
    client: Client, broker: FakeBroker
) -> None:
    failure = Failure("exception", "KeyError", "'k'", "Traceback ...\nKeyError: 'k'\n")
    task = Task(id="t:1", lane="t", max_retry=3)
    broker.view.tell("t:1", State.FAILED, failure=failure, task=task, attempt=4)
    with pytest.raises(TaskFailed) as caught:
        await client.handle("t:1").result()
    assert str(caught.value) == "task t:1 failed: KeyError: 'k' (attempt 4 of 4)"
    assert caught.value.__notes__ == ["in the worker:\nTraceback ...\nKeyError: 'k'"]


def worker(lane: str, alive: bool) -> WorkerInfo:
    return WorkerInfo(beat=Beat(worker="w", lanes=[lane]), seen_ago=0.0, alive=alive)


@pytest.mark.parametrize(
    ("workers", "tail"),
    [
        ([], ", and no live worker serves its lane 't' on redis://:***@host"),
        (
            [worker("t", False), worker("u", True)],
            ", and no live worker serves its lane 't' on redis://:***@host",
        ),
        ([worker("u", True), worker("t", True)], ""),
    ],
    ids=["none", "dead and other", "live"],
)
async def test_a_wait_that_ends_says_what_the_task_waits_for(
    client: Client,
    broker: FakeBroker,
    monkeypatch: pytest.MonkeyPatch,
    workers: list[WorkerInfo],
    tail: str,
) -> None:
    async def registered() -> list[WorkerInfo]:
        return workers

    monkeypatch.setattr(broker.view, "workers", registered)
    broker.settings = Settings(url="redis://:secret@host")
    broker.view.tell("t:1", State.PENDING)
    with pytest.raises(TimeoutError) as caught:
        await client.handle("t:1").result(timeout=0.05)
    assert str(caught.value) == f"task t:1 has not ended within 0.05 s: it is pending{tail}"


async def test_a_wait_that_ends_while_the_broker_is_away_says_no_more_than_it_knows(
    client: Client, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker.view.tell("t:1", State.PENDING)
    handle = client.handle("t:1")
    await handle.info()

    async def hang(ids: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(broker.view, "find", hang)
    with pytest.raises(TimeoutError, match=r"^task t:1 has not ended within 0.05 s$"):
        await handle.wait(timeout=0.05)


def test_a_result_of_another_content_type_is_its_bytes() -> None:
    assert any_json(b"[1]", "") == [1]
    assert any_json(b"\0", BYTES) == b"\0"


# -- why it is not running -------------------------------------------------------------------------


async def test_why_follows_a_duplicate_and_names_the_broker(
    client: Client, broker: FakeBroker
) -> None:
    broker.settings = Settings(url="redis://:secret@host")
    broker.view.tell("t:2", State.CANCELED, of="t:1")
    broker.view.tell("t:1", State.PENDING)
    handle = client.handle("t:2")
    why = await handle.why()
    assert (why.id, why.state) == ("t:1", State.PENDING)
    assert (handle.id, handle.duplicate) == ("t:1", True)
    assert [one.code for one in why.reasons] == ["duplicate", "no_worker", "cannot_tell"]
    assert "No worker is registered on redis://:***@host" in str(why)


async def test_why_of_an_unknown_task_raises_nothing(client: Client) -> None:
    why = await client.handle("t:1").why()
    assert (why.id, why.state) == ("t:1", None)
    assert [one.code for one in why.reasons] == ["unknown"]


async def test_why_is_asked_again_after_a_blip_and_raises_if_that_lasts(
    broker: FakeBroker,
) -> None:
    clock = Clock()
    client = Client(broker.connect, clock.retrying(5.0))
    broker.view.tell("t:1", State.SUCCESS)
    broker.view.faults = [Unavailable("blip")]
    assert [one.code for one in (await client.handle("t:1").why()).reasons] == ["ended"]
    broker.view.faults = [Unavailable("down")] * 100
    with pytest.raises(Unavailable):
        await client.handle("t:1").why()
    await client.close()
