"""Waiting: woken by events, by polls where events fail, with few look-ups for many waits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from support.client_fakes import FakeBroker, until
from xqueue_core.abc import Notice
from xqueue_core.client.retrying import Retrying
from xqueue_core.client.watcher import Watcher
from xqueue_core.errors import Refused, Unavailable
from xqueue_core.handlers import RetryPolicy
from xqueue_core.task import State

pytestmark = pytest.mark.anyio

#: Polls so seldom that only events can end a wait within a test, and so often that polls do.
NEVER, OFTEN = RetryPolicy(base=1000, cap=1000), RetryPolicy(base=0.005, cap=0.01)


@pytest.fixture
def broker() -> FakeBroker:
    return FakeBroker()


@pytest.fixture
async def watcher(broker: FakeBroker) -> AsyncIterator[Watcher]:
    watcher = Watcher(broker.connection, Retrying(deadline=0.2), polls=NEVER)
    yield watcher
    await watcher.close()


def waiting(watcher: Watcher, id: str) -> asyncio.Task[object]:
    return asyncio.create_task(watcher.ended(id))


async def test_a_task_that_has_ended_is_found_at_once(watcher: Watcher, broker: FakeBroker) -> None:
    broker.view.tell("t:1", State.SUCCESS)
    info = await watcher.ended("t:1")
    assert info is broker.view.infos["t:1"]
    assert watcher._waits == {}


async def test_an_event_ends_the_wait(watcher: Watcher, broker: FakeBroker) -> None:
    broker.view.tell("t:1", State.PENDING)
    wait = waiting(watcher, "t:1")
    await until(lambda: len(broker.view.finds) == 1, "the first look-up")
    broker.view.tell("t:1", State.FAILED)
    broker.notifier.finished("t:other", "1")
    broker.notifier.finished("t:1", "2")
    assert await asyncio.wait_for(wait, 5) is broker.view.infos["t:1"]
    assert broker.view.finds == [["t:1"], ["t:1"]]


async def test_an_event_that_came_too_early_is_only_a_hint(
    watcher: Watcher, broker: FakeBroker
) -> None:
    broker.view.tell("t:1", State.PROCESSING)
    wait = waiting(watcher, "t:1")
    await until(lambda: len(broker.view.finds) == 1, "the first look-up")
    broker.notifier.finished("t:1", "1")
    await until(lambda: len(broker.view.finds) == 2, "the look-up after the event")
    assert not wait.done()
    broker.view.tell("t:1", State.SUCCESS)
    broker.notifier.finished("t:1", "2")
    await asyncio.wait_for(wait, 5)


async def test_a_gap_in_the_events_has_everything_looked_at(
    watcher: Watcher, broker: FakeBroker
) -> None:
    ids = [f"t:{n}" for n in range(3)]
    for id in ids:
        broker.view.tell(id, State.PENDING)
    waits = [waiting(watcher, id) for id in ids]
    await until(lambda: broker.view.finds == [ids], "the first look-up")
    for id in ids:
        broker.view.tell(id, State.SUCCESS)
    broker.notifier.notices.put_nowait(Notice("9", None))
    await asyncio.wait_for(asyncio.gather(*waits), 5)
    assert broker.view.finds == [ids, ids]


async def test_ten_thousand_waits_share_one_subscription_and_few_look_ups(
    watcher: Watcher, broker: FakeBroker
) -> None:
    ids = [f"t:{n}" for n in range(10_000)]
    for id in ids:
        broker.view.tell(id, State.PENDING)
    waits = [waiting(watcher, id) for id in ids]
    await until(lambda: sum(map(len, broker.view.finds)) == 10_000, "all are looked at")
    for n, id in enumerate(ids):
        broker.view.tell(id, State.SUCCESS)
        broker.notifier.finished(id, str(n))
    await asyncio.wait_for(asyncio.gather(*waits), 30)
    assert broker.notifier.subscribed == [None]
    assert len(broker.view.finds) < 1_000
    assert watcher._waits == {}


async def test_without_events_polls_end_the_wait(broker: FakeBroker) -> None:
    broker = FakeBroker(events=False)
    watcher = Watcher(broker.connection, Retrying(), polls=OFTEN)
    broker.view.tell("t:1", State.PENDING)
    wait = waiting(watcher, "t:1")
    await until(lambda: len(broker.view.finds) >= 2, "a poll")
    broker.view.tell("t:1", State.SUCCESS)
    await asyncio.wait_for(wait, 5)
    await watcher.close()


async def test_an_interrupted_subscription_goes_on_behind_its_cursor(
    watcher: Watcher, broker: FakeBroker
) -> None:
    broker.view.tell("t:1", State.PENDING)
    wait = waiting(watcher, "t:1")
    broker.notifier.finished("t:other", "7")
    broker.notifier.notices.put_nowait(Unavailable("down"))
    await until(lambda: broker.notifier.subscribed == [None, "7"], "the second subscription")
    broker.view.tell("t:1", State.SUCCESS)
    broker.notifier.finished("t:1", "8")
    await asyncio.wait_for(wait, 5)


async def test_an_outage_while_waiting_only_makes_the_wait_longer(broker: FakeBroker) -> None:
    watcher = Watcher(broker.connection, Retrying(deadline=0.02), polls=OFTEN)
    broker.view.tell("t:1", State.PENDING)
    wait = waiting(watcher, "t:1")
    await until(lambda: len(broker.view.finds) >= 1, "the first look-up")
    broker.view.faults = [Unavailable("down") for _ in range(1_000)]
    await until(lambda: len(broker.view.faults) < 995, "polls that fail")
    broker.view.faults = []
    broker.view.tell("t:1", State.SUCCESS)
    await asyncio.wait_for(wait, 5)
    await watcher.close()


async def test_an_outage_at_the_beginning_is_told(watcher: Watcher, broker: FakeBroker) -> None:
    broker.view.faults = [Unavailable("down") for _ in range(1000)]
    with pytest.raises(Unavailable, match="down"):
        await watcher.ended("t:1")


async def test_what_polling_cannot_heal_ends_every_wait(broker: FakeBroker) -> None:
    watcher = Watcher(broker.connection, Retrying(), polls=OFTEN)
    for id in ("t:1", "t:2"):
        broker.view.tell(id, State.PENDING)
    waits = [waiting(watcher, "t:1"), waiting(watcher, "t:2")]
    await until(lambda: len(broker.view.finds) >= 1, "the first look-up")
    broker.view.faults = [LookupError("a defect of the driver") for _ in range(2)]
    results = await asyncio.wait_for(asyncio.gather(*waits, return_exceptions=True), 5)
    assert [type(result) for result in results] == [LookupError, LookupError]
    broker.view.faults = []
    broker.view.tell("t:1", State.SUCCESS)
    await asyncio.wait_for(watcher.ended("t:1"), 5)
    await watcher.close()


async def test_an_unknown_task_is_asked_for_twice(watcher: Watcher, broker: FakeBroker) -> None:
    assert await watcher.ended("t:1") is None
    assert broker.view.finds == [["t:1"], ["t:1"]]


async def test_a_view_may_be_a_little_behind(watcher: Watcher, broker: FakeBroker) -> None:
    wait = waiting(watcher, "t:1")
    await until(lambda: len(broker.view.finds) == 1, "the first look-up")
    broker.view.tell("t:1", State.SUCCESS)
    assert await asyncio.wait_for(wait, 5) is broker.view.infos["t:1"]


async def test_a_task_that_vanishes_while_waited_for_is_unknown(broker: FakeBroker) -> None:
    watcher = Watcher(broker.connection, Retrying(), polls=OFTEN)
    broker.view.tell("t:1", State.PENDING)
    wait = waiting(watcher, "t:1")
    await until(lambda: len(broker.view.finds) >= 1, "the first look-up")
    del broker.view.infos["t:1"]
    assert await asyncio.wait_for(wait, 5) is None
    await watcher.close()


async def test_a_duplicate_found_out_later_is_told(watcher: Watcher, broker: FakeBroker) -> None:
    broker.view.tell("t:1", State.PENDING, of="t:0")
    info = await watcher.ended("t:1")
    assert info is not None
    assert info.of == "t:0"


async def test_when_nobody_waits_nothing_runs(broker: FakeBroker) -> None:
    watcher = Watcher(broker.connection, Retrying(), polls=OFTEN)
    broker.view.tell("t:1", State.SUCCESS)
    await watcher.ended("t:1")
    running = list(watcher._tasks)
    assert len(running) == 2
    await until(lambda: all(task.done() for task in running), "both have stopped")
    assert watcher._tasks == []
    # And they begin again.
    broker.view.tell("t:2", State.PENDING)
    wait = waiting(watcher, "t:2")
    await until(lambda: len(broker.notifier.subscribed) == 2, "another subscription")
    wait.cancel()
    await watcher.close()


async def test_refused_events_leave_the_polls(broker: FakeBroker) -> None:
    watcher = Watcher(broker.connection, Retrying(), polls=OFTEN)
    broker.view.tell("t:1", State.PENDING)
    broker.notifier.notices.put_nowait(Refused("no rights"))
    wait = waiting(watcher, "t:1")
    await until(lambda: len(broker.view.finds) >= 2, "a poll")
    broker.view.tell("t:1", State.SUCCESS)
    await asyncio.wait_for(wait, 5)
    assert broker.notifier.subscribed == [None]
    await watcher.close()


@pytest.mark.parametrize("how", ["close", "abandon"])
async def test_whoever_waits_at_the_close_is_told(
    watcher: Watcher, broker: FakeBroker, how: str
) -> None:
    broker.view.tell("t:1", State.PENDING)
    waits = [asyncio.create_task(watcher.ended("t:1")) for _ in range(2)]
    await until(lambda: bool(broker.view.finds), "they wait")
    await asyncio.sleep(0.01)
    if how == "close":
        await watcher.close()
    else:
        watcher.abandon()
    for wait in waits:
        with pytest.raises(Unavailable, match="the client was closed meanwhile"):
            await wait
    for late in (watcher.ended, watcher.find):
        with pytest.raises(Unavailable, match="the client was closed meanwhile"):
            await late("t:1")
