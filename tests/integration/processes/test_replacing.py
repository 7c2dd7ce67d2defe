"""A worker without a supervisor that replaces itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from support import lifecycle_app
from support.lifecycle import children, logged, worker
from xqueue_core.task import Task

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    """The event loop of the client."""
    return "asyncio"


async def test_one_that_replaces_itself_leaves_no_zombie(tmp_path: Path) -> None:
    url, log = f"sqlite:///{tmp_path / 'tasks.db'}", tmp_path / "handlers.log"
    async with lifecycle_app.make(url) as app, app.connect() as connection:
        with worker(url, log, "--grace", "0.3", "--lanes", "ticks,isolated") as process:
            await logged(process, "serves")
            task = Task(
                id="ticks:long",
                lane="ticks",
                payload=b'{"seconds": 60}',
                process_timeout=0.3,
                max_retry=0,
            )
            await connection.faces.queue.put([task])
            await logged(process, "serves", 2)
            assert "replaces itself" in process.log()
            assert "Z" not in children(process.process.pid).values()
            process.send()
            assert await process.ended() == 0
