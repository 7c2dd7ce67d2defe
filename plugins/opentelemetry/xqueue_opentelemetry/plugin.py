"""The plugin."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import ClassVar

from opentelemetry import trace

from xqueue_core import __version__
from xqueue_core.hooks import Hooks, Place, Plugin, Site
from xqueue_opentelemetry.settings import OpenTelemetrySettings
from xqueue_opentelemetry.spans import Spans


class OpenTelemetryPlugin(Plugin):
    """Makes spans with the tracer provider that the program has set.

    Args:
        provider: another one.
    """

    api = 1
    requires: ClassVar[Mapping[str, str]] = {"opentelemetry.trace": "opentelemetry"}
    places: ClassVar[Collection[Place]] = tuple(Place)

    def __init__(self, provider: trace.TracerProvider | None = None) -> None:
        self._provider = provider

    @property
    def Settings(self) -> type[OpenTelemetrySettings]:
        """The settings model."""
        return OpenTelemetrySettings

    def open(
        self, settings: OpenTelemetrySettings, site: Site
    ) -> AbstractAsyncContextManager[Hooks]:
        """Trace. Opens nothing: where spans go is for the program's own setup to say."""
        return self._open(settings, site)

    @asynccontextmanager
    async def _open(self, settings: OpenTelemetrySettings, site: Site) -> AsyncIterator[Hooks]:
        tracer = trace.get_tracer("xqueue", __version__, self._provider)
        yield Spans(tracer, settings, self._provider)
