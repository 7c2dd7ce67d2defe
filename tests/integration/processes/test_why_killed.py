"""``handle.why()`` while workers are killed: their silence, their loss, and what follows."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from support import worker_app
from support.processes import notes, worker
from support.workers import until
from xqueue_core import State, XQueue
from xqueue_core.why import Lost, NoWorker, Processing, Reason, Silent, Why

pytestmark = pytest.mark.anyio

#: The workers' lease (seconds).
LEASE = 2.0


@pytest.fixture
async def app(url: str) -> AsyncIterator[XQueue]:
    """The processes' app, in this process as a client."""
    async with worker_app.make(url) as opened:
        yield opened


async def told(handle: Any, what: str, condition: Any) -> Why:
    """Wait until what is said meets the condition."""

    async def look() -> Why | None:
        why: Why = await handle.why()
        return why if condition(why) else None

    found = await until(what, look)
    assert isinstance(found, Why)
    return found


def one(why: Why, kind: type[Reason]) -> Any:
    """The reason of this kind, None if there is none."""
    return next((reason for reason in why.reasons if isinstance(reason, kind)), None)


async def test_a_killed_worker_is_silent_then_lost_and_counted(
    app: XQueue, url: str, log: Path
) -> None:
    handle = await app.submit("nap", seconds=60.0)
    with worker(url, log) as first:
        await until("it runs", lambda: len(notes(log)) == 1)
        why = await told(handle, "it runs", lambda why: why.state is State.PROCESSING)
        name = one(why, Processing).worker
        first.send(signal.SIGKILL)
        silent = one(await told(handle, "silence", lambda why: one(why, Silent)), Silent)
        assert (silent.worker, silent.living) == (name, 0)
        assert 0 < silent.lost_in < LEASE

        def counted_dead(why: Why) -> bool:
            found = one(why, Silent)
            return found is not None and found.lost_in == 0

        why = await told(handle, "it counts as lost", counted_dead)
        assert isinstance(why.reasons[0], Silent)
        assert "no worker lives to take the task up, so start one" in str(why)
    other = await app.submit("hang", seconds=0.0)
    why = await other.why()
    assert why.reasons[0].code == "no_worker"
    assert one(why, NoWorker).cause == "dead"
    assert one(why, NoWorker).workers == (name,)
    with worker(url, log):
        await until("it runs again", lambda: len(notes(log)) >= 2)
        why = await told(handle, "the loss", lambda why: one(why, Lost))
        assert (one(why, Lost).losses, one(why, Lost).worker) == (1, name)
        assert one(why, Processing).worker != name
        await other.result(10)
