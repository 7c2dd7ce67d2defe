"""What is looked at before an app's lifespan is entered."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from support.apps import BACKENDS, load
from xqueue_core import XQueue
from xqueue_core.connect import BackendCache
from xqueue_core.errors import ConfigError
from xqueue_core.plugins import load_backend
from xqueue_core.worker import Worker

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    """The event loop of the worker."""
    return "asyncio"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"url": "sqllite:///foo.db"}, "no backend named 'sqllite'"),
        ({"url": "sqlite:///foo.db?no_such_key=1"}, "no_such_key"),
        ({"url": "memory://", "semaphore_url": "memery://"}, "no backend named 'memery'"),
    ],
)
async def test_a_broker_that_cannot_be_used_shows_before_it_is_entered(
    settings: dict[str, Any], message: str
) -> None:
    entered: list[XQueue] = []

    @asynccontextmanager
    async def lifespan(app: XQueue) -> AsyncIterator[None]:
        entered.append(app)
        yield

    app = XQueue(lifespan=lifespan, **settings)
    app._backends = BackendCache(lambda name: (load if name in BACKENDS else load_backend)(name))

    @app.task
    async def job() -> None: ...

    with pytest.raises(ConfigError, match=message):
        await Worker(app).run()
    assert entered == []
