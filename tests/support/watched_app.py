"""The app of the tests of plugins and isolated handlers: children import it, too."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Sequence
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from support.processes import LOG, URL, note
from support.recorder import recorded
from support.spans import Traces
from xqueue_core import Reject, Retry, XQueue
from xqueue_opentelemetry import OpenTelemetryPlugin


def make(url: str, traces: Traces, **settings: Any) -> XQueue:
    """The app, over this broker; its spans go there."""
    plugin = OpenTelemetryPlugin(traces.provider)
    app = recorded(url, plugin, lease=4.0, heartbeat=0.1, lease_wait=1.0, children=1, **settings)
    isolated: dict[str, Any] = {"isolation": "process", "max_retry": 0, "lane": "apart"}

    @app.task(**isolated)
    async def current() -> list[int]:
        await asyncio.sleep(0)
        found = trace.get_current_span().get_span_context()
        return [found.trace_id, found.span_id]

    @app.task(**isolated)
    def fails() -> None:
        raise KeyError("apart")

    @app.task(**isolated)
    def rejects() -> None:
        raise Reject("never")

    @app.task(**isolated)
    def dies() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    @app.task(isolation="process", max_retry=1, lane="again")
    def again() -> None:
        raise Retry(delay=0.01)

    @app.task(process_timeout=1.0, isolation="process", max_retry=1, lane="slow")
    async def heard_late() -> str:
        # A collector that does not answer.
        traces.provider.add_span_processor(BatchSpanProcessor(Away()))
        with traces.provider.get_tracer("user").start_as_current_span("inner"):
            return "done"

    @app.task(process_timeout=0.3, **isolated)
    async def late() -> None:
        await asyncio.sleep(30)

    return app


class Away(SpanExporter):
    """Takes longer than anybody waits."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send nothing."""
        if LOG in os.environ:
            note("leaving")
        threading.Event().wait(30)
        return SpanExportResult.FAILURE


if URL in os.environ:
    app = make(os.environ[URL], Traces())
