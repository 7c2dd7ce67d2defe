"""Handles: what they raise, whom they follow."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from support.client_fakes import FakeBroker
from xqueue_core.calls import ALL_ABILITIES
from xqueue_core.client.client import Client
from xqueue_core.errors import ResultExpired, TaskError, TaskFailed, TaskTimedOut, Unsupported
from xqueue_core.handle import any_json
from xqueue_core.payload import BYTES
from xqueue_core.task import Failure, State

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


def test_a_result_of_another_content_type_is_its_bytes() -> None:
    assert any_json(b"[1]", "") == [1]
    assert any_json(b"\0", BYTES) == b"\0"
