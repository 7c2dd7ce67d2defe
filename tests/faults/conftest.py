"""What tests with real processes share: one broker, one log, and an app as their client."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from support import lifecycle_app
from support.history.scene import Scene, scene
from xqueue_core import XQueue


@pytest.fixture
def anyio_backend() -> str:
    """The event loop of the client."""
    return "asyncio"


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A broker that processes share."""
    return f"sqlite:///{tmp_path / 'tasks.db'}"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Where handlers write."""
    return tmp_path / "handlers.log"


@pytest.fixture
async def app(url: str) -> AsyncIterator[XQueue]:
    """The processes' app, in this process as a client."""
    async with lifecycle_app.make(url) as opened:
        yield opened


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Scene]:
    """Client, history, and workers to come."""
    async with scene(tmp_path) as made:
        yield made
