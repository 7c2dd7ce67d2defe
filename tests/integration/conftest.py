"""Every integration test runs on both brokers that need no server, and on both event loops."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from support.apps import make_app
from xqueue_core import XQueue


@pytest.fixture(params=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """The event loop of the client and of the handlers."""
    return "asyncio", {"use_uvloop": request.param == "uvloop"}


@pytest.fixture(params=["memory", "sqlite"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A fresh broker."""
    return "memory://" if request.param == "memory" else f"sqlite:///{tmp_path / 'tasks.db'}"


@pytest.fixture
async def app(url: str) -> AsyncIterator[XQueue]:
    """An app on a fresh broker."""
    async with make_app(url) as opened:
        yield opened
