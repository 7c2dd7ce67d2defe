"""A plugin that records what it is told, and apps that have it."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from contextvars import ContextVar
from typing import Any, ClassVar

from pydantic import BaseModel

from support.apps import make_app
from xqueue_core import XQueue
from xqueue_core.hooks import Ended, Hooks, Place, Plugin, Running, Site, Submitting, WorkerEvent
from xqueue_core.plugged import PluginCache

#: What the recorder sets around a handler.
current: ContextVar[str] = ContextVar("current", default="")
#: What the producer sets before a submit.
producer: ContextVar[str] = ContextVar("producer", default="")


class Own(BaseModel):
    """The recorder's settings."""

    header: str = "x-from"


class Recorder(Plugin):
    """Records everything; a test says what is to fail."""

    api = 1
    Settings = Own
    places: ClassVar[Collection[Place]] = (Place.CLIENT, Place.WORKER)

    def __init__(self) -> None:
        self.sites: list[Site] = []
        self.closed: list[Place] = []
        self.batches: list[list[Submitting]] = []
        self.runs: list[Running] = []
        self.entered: list[tuple[str, str, str]] = []  # id, thread, what the producer had set
        self.left: list[tuple[str, Any, BaseException | None]] = []
        self.ends: list[Ended] = []
        self.events: list[WorkerEvent] = []
        #: Called with the name of each hook; raises what the hook is to raise.
        self.fault: Callable[[str], None] = lambda hook: None

    @asynccontextmanager
    async def open(self, settings: Any, site: Site) -> AsyncIterator[Hooks]:
        """Note it."""
        self.fault("open")
        self.sites.append(site)
        try:
            yield Recording(self, settings)
        finally:
            self.closed.append(site.place)
            self.fault("close")


class Recording(Hooks):
    """The recorder's hooks."""

    def __init__(self, recorder: Recorder, settings: Own) -> None:
        self._to = recorder
        self._settings = settings

    def submit(self, batch: Sequence[Submitting]) -> AbstractContextManager[Any]:
        """Add a header."""
        self._to.fault("submit")
        return self._submit(batch)

    @contextmanager
    def _submit(self, batch: Sequence[Submitting]) -> Iterator[None]:
        for one in batch:
            one.headers[self._settings.header] = producer.get()
        self._to.fault("submit enter")
        try:
            yield
        finally:
            self._to.batches.append(list(batch))
            self._to.fault("submit exit")

    def run(self, run: Running) -> AbstractContextManager[Any]:
        """Set what the handler sees."""
        self._to.fault("run")
        return self._run(run)

    @contextmanager
    def _run(self, run: Running) -> Iterator[None]:
        self._to.runs.append(run)
        said = run.headers.get(self._settings.header, "")
        self._to.entered.append((run.id, threading.current_thread().name, said))
        token = current.set(run.id)
        self._to.fault("run enter")
        try:
            yield
        finally:
            current.reset(token)
            self._to.left.append((run.id, run.how, run.error))
            self._to.fault("run exit")

    def ended(self, end: Ended) -> None:
        """Note it."""
        self._to.ends.append(end)
        self._to.fault("ended")

    def worker(self, event: WorkerEvent) -> None:
        """Note it."""
        self._to.events.append(event)
        self._to.fault("worker")


def recorded(url: str, plugin: Plugin, name: str = "recorder", **settings: Any) -> XQueue:
    """An app with this plugin, under this name."""
    app = make_app(url, plugins=[name], **settings)
    app._plugins = PluginCache(lambda name: plugin)
    return app
