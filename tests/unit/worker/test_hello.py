"""What a worker says of itself when it begins."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from support.apps import make_app
from xqueue_core.worker import Exit, Worker

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    """The event loop of the worker."""
    return "asyncio"


@pytest.mark.parametrize(
    ("options", "slots"),
    [({"concurrency": 7}, "7"), ({"min_concurrency": 2, "concurrency": 10}, "2 to 10")],
)
async def test_its_slots_and_once_its_broker(
    options: dict[str, Any], slots: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "xqueue")
    url = f"sqlite:///{tmp_path / 'tasks.db'}"
    app = make_app(url)

    @app.task
    async def job() -> None: ...

    assert await Worker(app, burst=True, **options).run() is Exit.EMPTY
    [hello] = [text for text in caplog.messages if " serves lanes " in text]
    assert hello.endswith(f"serves lanes job on {url}, {slots} slots")
    assert sum(text.startswith("broker: ") for text in caplog.messages) == 1
