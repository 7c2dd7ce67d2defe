"""The app of isolated handlers, over a broker that its children know of by the environment."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from support import isolated_app
from support.hosts import HOSTS
from support.processes import LOG, URL
from xqueue_core import XQueue


@pytest.fixture
def anyio_backend() -> str:
    """The event loop of the client."""
    return "asyncio"


@pytest.fixture(params=HOSTS)
def host(request: pytest.FixtureRequest) -> str:
    """The event loop of the worker's other handlers."""
    return str(request.param)


@pytest.fixture
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A fresh broker; ``@pytest.mark.parametrize("url", [...], indirect=True)`` says which."""
    name = getattr(request, "param", "memory")
    return "memory://" if name == "memory" else f"sqlite:///{tmp_path / 'tasks.db'}"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Where handlers note what they do."""
    return tmp_path / "handlers.log"


@pytest.fixture
async def app(url: str, log: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[XQueue]:
    """The app, here and in its children."""
    monkeypatch.setenv(URL, url)
    monkeypatch.setenv(LOG, str(log))
    made = isolated_app.make(url)
    monkeypatch.setattr(isolated_app, "app", made, raising=False)
    async with made:
        yield made
