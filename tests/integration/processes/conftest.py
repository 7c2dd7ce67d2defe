"""Tests of real worker processes: on one broker that they share, and with a client on asyncio."""

from __future__ import annotations

from pathlib import Path

import pytest


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
