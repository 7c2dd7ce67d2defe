"""The worker engine over the harness's faces, with handlers that a case watches and holds back."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

import anyio

from xqueue_core.app import XQueue
from xqueue_core.calls import ALL_ABILITIES
from xqueue_core.conformance.bench import TYPE, Bench
from xqueue_core.connect import Connection
from xqueue_core.handlers import RetryPolicy
from xqueue_core.worker import Worker

if TYPE_CHECKING:
    from xqueue_core.abc import Role
    from xqueue_core.conformance.proxy import Proxy
    from xqueue_core.settings import Settings


class App(XQueue):
    """An app on the backend that a case is about; it reads no configuration.

    Its connections go through ``proxy``, if there is one.
    """

    def __init__(
        self,
        bench: Bench,
        handler: Callable[..., Any],
        lease: float,
        proxy: Proxy | None = None,
    ) -> None:
        super().__init__(accept_without=ALL_ABILITIES)
        self._bench = bench
        self._lease = lease
        self._proxy = proxy
        self.task(name=TYPE, retry=RetryPolicy(base=0.0))(handler)

    def settings(self) -> Settings:
        """Times that fit a case."""
        from xqueue_core.settings import Settings

        return Settings(
            url="kit://backend",
            namespace=self._bench.namespace[:32],
            lease=self._lease,
            heartbeat=0.1 * self._bench.scale,
            lease_wait=0.5 * self._bench.scale,
        )

    @asynccontextmanager
    async def connect(self, role: Role | None = None) -> AsyncIterator[Connection]:
        """The harness's faces, opened on the event loop that asks."""
        harness, proxy = self._bench.harness, self._proxy
        space = self._bench.namespace, self._bench.case.settings
        opened = harness.open(*space) if proxy is None else harness.open_through(proxy, *space)
        async with opened as faces:
            yield Connection(faces, harness.capabilities, self.settings())


class Runs:
    """What handlers did.

    Attributes:
        started: how often each task was started, by its id.
        now: how many run; ``most``: how many did at the same time.
        canceled: how many were canceled.
    """

    def __init__(self) -> None:
        self.started: Counter[str] = Counter()
        self.now = 0
        self.most = 0
        self.canceled = 0
        self._lock = threading.Lock()

    @contextmanager
    def one(self, id: str) -> Iterator[None]:
        """Around each run of a handler."""
        with self._lock:
            self.started[id] += 1
            self.now += 1
            self.most = max(self.most, self.now)
        try:
            yield
        except asyncio.CancelledError:
            self.canceled += 1
            raise
        finally:
            with self._lock:
                self.now -= 1

    async def are(self, bench: Bench, count: int, within: float = 10.0) -> None:
        """Wait until this many run at the same time."""

        async def running() -> bool:
            return self.now == count

        await bench.until(f"{count} handlers run, of {len(self.started)}", running, within)


@asynccontextmanager
async def working(
    bench: Bench,
    handler: Callable[..., Any],
    *,
    lease: float = 0.0,
    proxy: Proxy | None = None,
    **options: Any,
) -> AsyncIterator[Worker]:
    """A worker of the engine, with one handler for the case's own type; it ends with the context.

    Its lease is long unless the case says otherwise, and it connects through ``proxy``, if that
    is given. ``options`` are those of ``Worker``.
    """
    app = App(bench, handler, lease or 10.0 * bench.scale, proxy)
    worker = Worker(app, name="engine", **{"grace": 10.0 * bench.scale, **options})
    running = bench.start(worker.run)
    try:
        yield worker
    finally:
        with anyio.CancelScope(shield=True):
            worker.stop()
            worker.stop()
            await running.done()
