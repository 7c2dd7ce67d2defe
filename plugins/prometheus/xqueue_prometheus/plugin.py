"""The plugin: one registry for each app, and a port of its own in workers."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from threading import Thread
from typing import TYPE_CHECKING, ClassVar, NamedTuple
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, start_http_server

from xqueue_core.hooks import Hooks, Place, Plugin, Site
from xqueue_prometheus.depth import Depth
from xqueue_prometheus.metrics import Metrics, PrometheusHooks
from xqueue_prometheus.settings import BUCKETS, PrometheusSettings

if TYPE_CHECKING:
    from xqueue_core import XQueue

logger = logging.getLogger("xqueue.plugins")


class _Server(NamedTuple):
    server: WSGIServer
    thread: Thread


class PrometheusPlugin(Plugin):
    """Counts what clients and workers of one app do in this process.

    Attributes:
        port: the port that the metrics are offered on; None while there is none.
    """

    api = 1
    requires: ClassVar[Mapping[str, str]] = {"prometheus_client": "prometheus"}

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._metrics: Metrics | None = None
        self._server: _Server | None = None
        self._workers = 0
        self.port: int | None = None

    @property
    def Settings(self) -> type[PrometheusSettings]:
        """The settings model."""
        return PrometheusSettings

    @property
    def registry(self) -> CollectorRegistry:
        """The registry of this process: of its own, never the one that all libraries share."""
        return self._made().registry

    def _made(self, settings: PrometheusSettings | None = None) -> Metrics:
        with self._lock:
            if self._metrics is None:
                self._metrics = Metrics(BUCKETS if settings is None else settings.buckets)
            return self._metrics

    def open(self, settings: PrometheusSettings, site: Site) -> AbstractAsyncContextManager[Hooks]:
        """Count; a worker also listens at its port, and asks the broker how much waits.

        Raises OSError if no port is free.
        """
        return self._open(settings, site)

    @asynccontextmanager
    async def _open(self, settings: PrometheusSettings, site: Site) -> AsyncIterator[Hooks]:
        metrics = self._made(settings)
        metrics.workers.failures = site.failures
        hooks = PrometheusHooks(metrics, site)
        if site.place is not Place.WORKER:
            yield hooks
            return
        if settings.depth and site.view is not None:
            depth = Depth(site.view, settings.depth_every, settings.depth_timeout)
            metrics.workers.depths[site.worker] = depth
        try:
            await asyncio.to_thread(self._listen, settings, site, metrics.registry)
            try:
                yield hooks
            finally:
                await asyncio.to_thread(self._leave)
        finally:
            metrics.workers.depths.pop(site.worker, None)

    # -- the port, which several workers in one process share ------------------------------------

    def _listen(
        self, settings: PrometheusSettings, site: Site, registry: CollectorRegistry
    ) -> None:
        with self._lock:
            if settings.port and self._server is None:
                self._server = self._free(settings, site, registry)
            self._workers += 1

    def _free(
        self, settings: PrometheusSettings, site: Site, registry: CollectorRegistry
    ) -> _Server:
        """A server on the first port that nobody has: each of several processes gets its own."""
        count = settings.ports or max(1, site.settings.processes)
        last = min(65_535, settings.port + count - 1)
        problem: OSError | None = None
        for port in range(settings.port, last + 1):
            try:
                server, thread = start_http_server(port, settings.address, registry)
            except OSError as error:
                problem = error
                continue
            self.port = port
            logger.info("metrics at http://%s:%d/metrics", settings.address, port)
            return _Server(server, thread)
        ports = f"port {last}" if count == 1 else f"port from {settings.port} to {last}"
        raise OSError(
            f"no {ports} at {settings.address} is free ({problem}): name others, "
            f"XQUEUE_PROMETHEUS__PORT=... and __PORTS=..., or none, __PORT=0"
        )

    def _leave(self) -> None:
        with self._lock:
            self._workers -= 1
            if self._workers or self._server is None:
                return
            (server, thread), self._server, self.port = self._server, None, None
        server.shutdown()
        server.server_close()
        thread.join()


def registry(app: XQueue) -> CollectorRegistry:
    """What is counted for this app in this process, for an exporter of the user's own.

    Raises ConfigError if the app does not use the plugin.
    """
    plugin = app.plugin("prometheus")
    if not isinstance(plugin, PrometheusPlugin):
        raise TypeError(f"the plugin 'prometheus' of this app is a {type(plugin).__qualname__}")
    return plugin.registry
