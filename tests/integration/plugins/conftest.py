"""What every test of plugins needs."""

from __future__ import annotations

import pytest

from support.hosts import HOSTS


@pytest.fixture
def anyio_backend() -> str:
    """The event loop of the client."""
    return "asyncio"


@pytest.fixture(params=HOSTS)
def host(request: pytest.FixtureRequest) -> str:
    """The event loop of the handlers."""
    return str(request.param)
