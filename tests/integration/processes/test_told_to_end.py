"""A worker process that is told to end when it is about to replace itself."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from integration.processes.test_processes import hang_briefly
from support import worker_app
from support.processes import worker
from support.workers import until
from xqueue_core import XQueue

pytestmark = pytest.mark.anyio


@pytest.fixture
async def app(url: str) -> AsyncIterator[XQueue]:
    """The processes' app, in this process as a client."""
    async with worker_app.make(url) as opened:
        yield opened


async def test_a_signal_ends_a_process_that_was_about_to_replace_itself(
    app: XQueue, url: str, log: Path
) -> None:
    with worker(url, log, "--grace", "2") as process:
        await hang_briefly(app)
        await app.submit("nap", seconds=60.0)
        await until("it gives up", lambda: "must be replaced" in process.log())
        process.send()
        assert await process.ended() == 0
        assert "replaces itself" not in process.log()
