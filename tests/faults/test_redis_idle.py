"""What a real worker over a real Redis asks for while there is nothing to do."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import services
from services import Server
from support.processes import cli
from support.redis_links import command
from support.workers import until
from xqueue_core import XQueue

pytestmark = pytest.mark.anyio

#: Fewer are sent in a second; how many are counted; and how many a worker may send at first.
RATE, COUNTED, BEGINNING = 5.0, 100, 30
#: The same while tasks come due in a lane of others.
DUE_RATE, DUE_COUNTED = 15.0, 100
#: So many of them may come at the same moment, by chance at the end of the count.
TOGETHER = 5
APP = """
from xqueue_core import XQueue
app = XQueue()
@app.task
async def noop() -> None: ...
"""
#: What clients send; what scripts run is no call.
CALLS = ("evalsha", "fcall", "blpop", "ping", "script|load")


@pytest.fixture
def server() -> Iterator[Server]:
    """A server of its own, so that nobody else's calls are counted."""
    with services.redis(aof=True) as started:
        yield started


async def _calls(server: Server) -> dict[str, int]:
    found: dict[str, Any] = await command(server, "INFO", "commandstats")
    counts = {name.removeprefix("cmdstat_"): int(told["calls"]) for name, told in found.items()}
    return {name: counts.get(name, 0) for name in CALLS}


async def _sent(server: Server, count: int) -> dict[str, int]:
    """Wait until so many more were sent: which."""
    before = await _calls(server)
    sent: dict[str, int] = {}

    async def enough() -> bool:
        after = await _calls(server)
        sent.update((name, after[name] - before[name]) for name in CALLS)
        return sum(sent.values()) >= count

    await until(f"{count} calls are sent", enough, 60.0, every=0.05)
    return sent


async def test_an_idle_worker_sends_fewer_than_five_commands_a_second(
    tmp_path: Path, server: Server
) -> None:
    app = tmp_path / "app.py"
    app.write_text(APP)
    with cli(server.url, tmp_path / "log", "worker", str(app), "--url", server.url) as worker:
        await until("it serves", lambda: "serves lanes" in worker.log(), 20.0)
        await _sent(server, BEGINNING)
        begun = time.monotonic()
        sent = await _sent(server, COUNTED)
        assert time.monotonic() - begun > (COUNTED - TOGETHER) / RATE, sent


async def test_what_comes_due_in_lanes_of_others_does_not_keep_a_worker_busy(
    tmp_path: Path, server: Server
) -> None:
    """A hundred tasks a second come due in a lane that nobody serves."""
    app = tmp_path / "app.py"
    app.write_text(APP)
    other = XQueue(url=server.url)

    @other.task
    async def elsewhere() -> None: ...

    with cli(server.url, tmp_path / "log", "worker", str(app), "--url", server.url) as worker:
        await until("it serves", lambda: "serves lanes" in worker.log(), 20.0)
        async with other:
            delays = [n / 100 for n in range(100, 3000)]
            await other.submit_many(elsewhere.options(delay=delay).call() for delay in delays)
        await _sent(server, BEGINNING)
        begun = time.monotonic()
        sent = await _sent(server, DUE_COUNTED)
        assert time.monotonic() - begun > (DUE_COUNTED - TOGETHER) / DUE_RATE, sent
