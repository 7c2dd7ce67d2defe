"""Apps over this tree's backends, whether or not the distribution is installed."""

from __future__ import annotations

from typing import Any

from xqueue_core import Context, XQueue
from xqueue_core.abc import Backend
from xqueue_core.connect import BackendCache
from xqueue_memory import MemoryBackend
from xqueue_sqlite import SqliteBackend

BACKENDS: dict[str, type[Backend]] = {"memory": MemoryBackend, "sqlite": SqliteBackend}


def load(name: str) -> Backend:
    """The backend of this name."""
    if name == "redis":
        from xqueue_redis import RedisBackend  # most tests do without it

        return RedisBackend()
    return BACKENDS[name]()


def make_app(url: str = "memory://", **settings: Any) -> XQueue:
    """An app over one of these backends."""
    app = XQueue(url, **settings)
    app._backends = BackendCache(load)
    return app


def declare(app: XQueue) -> Any:
    """A handler to submit to; :mod:`support.hand_worker` settles its tasks without running it."""

    @app.task
    async def thumbnail(ctx: Context, path: str, width: int = 320) -> dict[str, Any]:
        raise AssertionError("handlers are not run here")

    return thumbnail
