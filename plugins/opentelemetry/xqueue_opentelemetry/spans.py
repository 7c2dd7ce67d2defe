"""The spans, by the semantic conventions for messaging (version 1.27 and later).

A submit is a span of kind PRODUCER, ``send <lane>``, whose context travels in the task's headers.
In a batch each task has a PRODUCER span of its own, ``create <lane>``, and one of kind CLIENT,
``send``, has links to them all. Each attempt is a span of kind CONSUMER, ``process <lane>``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from threading import Thread
from typing import Any

from opentelemetry import context as contexts
from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode, Tracer

from xqueue_core.calls import Accepted, Put
from xqueue_core.hooks import Hooks, How, Place, Running, Submitting
from xqueue_core.task import Task
from xqueue_opentelemetry.settings import OpenTelemetrySettings

logger = logging.getLogger("xqueue.plugins")

#: Ends that are an error of the attempt.
BAD = frozenset({How.RETRY, How.FAILED, How.TIMEOUT})
#: Longest that a child process waits for its spans to be sent, after each task (milliseconds).
FLUSH = 2_000


class Spans(Hooks):
    """Safe from any thread: the current span is a matter of ``contextvars``."""

    def __init__(
        self,
        tracer: Tracer,
        settings: OpenTelemetrySettings,
        provider: trace.TracerProvider | None,
    ) -> None:
        self._tracer = tracer
        self._settings = settings
        self._provider = provider

    # -- submitting --------------------------------------------------------------------------------

    def submit(self, batch: Sequence[Submitting]) -> AbstractContextManager[Any]:
        """Around a submit."""
        return self._one(batch[0]) if len(batch) == 1 else self._many(batch)

    @contextmanager
    def _one(self, one: Submitting) -> Iterator[None]:
        attributes = {**_about("send", "send", one.task.lane), **_message(one.task)}
        with self._span(f"send {one.task.lane}", SpanKind.PRODUCER, attributes) as span:
            propagate.inject(one.headers)
            try:
                yield
            finally:
                _answered(span, one)

    @contextmanager
    def _many(self, batch: Sequence[Submitting]) -> Iterator[None]:
        created = [self._created(one) for one in batch] if self._settings.create_spans else []
        lanes = {one.task.lane for one in batch}
        # Of several destinations none is named.
        lane = lanes.pop() if len(lanes) == 1 else ""
        attributes = {**_about("send", "send", lane), "messaging.batch.message_count": len(batch)}
        kind = SpanKind.CLIENT if created else SpanKind.PRODUCER
        links = [Link(span.get_span_context()) for span in created]
        with self._span(f"send {lane}".rstrip(), kind, attributes, links) as span:
            if not created:
                for one in batch:
                    propagate.inject(one.headers)
            try:
                yield
            finally:
                errors = [one.answer for one in batch if isinstance(one.answer, BaseException)]
                if errors:
                    _failed(span, errors[0])

    def _created(self, one: Submitting) -> Span:
        """The span of one task of a batch, ended: making a task takes no time."""
        attributes = {**_about("create", "create", one.task.lane), **_message(one.task)}
        span = self._tracer.start_span(
            f"create {one.task.lane}", kind=SpanKind.PRODUCER, attributes=attributes
        )
        propagate.inject(one.headers, trace.set_span_in_context(span))
        span.end()
        return span

    # -- running -----------------------------------------------------------------------------------

    def run(self, run: Running) -> AbstractContextManager[Any]:
        """Around an attempt; in a child process within the worker's span of it."""
        return self._in_child(run) if run.place is Place.CHILD else self._attempt(run)

    @contextmanager
    def _attempt(self, run: Running) -> Iterator[None]:
        context = propagate.extract(run.headers, Context())
        sender = trace.get_current_span(context).get_span_context()
        if self._settings.trace == "link":
            context = trace.set_span_in_context(trace.INVALID_SPAN, context)
        attributes = {
            **_about("process", "process", run.lane),
            "messaging.message.id": run.id,
            "messaging.client.id": run.worker,
            "xqueue.task.type": run.type,
            "xqueue.attempt": run.attempt,
            "xqueue.max_retry": run.max_retry,
        }
        links = [Link(sender)] if sender.is_valid else []
        name = f"process {run.lane}"
        with self._span(name, SpanKind.CONSUMER, attributes, links, context) as span:
            if run.kind == "process":
                propagate.inject(run.carried)
            try:
                yield
            finally:
                _ended(span, run)

    @contextmanager
    def _in_child(self, run: Running) -> Iterator[None]:
        token = contexts.attach(propagate.extract(run.carried, Context()))
        try:
            yield
        finally:
            contexts.detach(token)
            # The process may be ended any time after this task.
            self._flush()

    def _flush(self) -> None:
        """Have what there is sent, and wait for a moment: not all SDKs keep to a time-out."""
        provider: Any = self._provider or trace.get_tracer_provider()
        flush = getattr(provider, "force_flush", None)
        if flush is not None:
            sending = Thread(target=_sent, args=(flush,), name="xqueue-spans", daemon=True)
            sending.start()
            sending.join(FLUSH / 1000)

    @contextmanager
    def _span(
        self,
        name: str,
        kind: SpanKind,
        attributes: Mapping[str, Any],
        links: Sequence[Link] = (),
        context: Context | None = None,
    ) -> Iterator[Span]:
        """A span that is current within, on top of ``context``, which is current then, too."""
        if context is None:
            context = contexts.get_current()
        span = self._tracer.start_span(
            name, context=context, kind=kind, attributes=attributes, links=links
        )
        token = contexts.attach(trace.set_span_in_context(span, context))
        try:
            yield span
        finally:
            contexts.detach(token)
            span.end()


def _sent(flush: Callable[[int], object]) -> None:
    """In a thread of its own."""
    try:
        flush(FLUSH)
    except Exception:
        logger.exception("spans of a child process could not be sent")


def _about(operation: str, kind: str, lane: str) -> dict[str, Any]:
    attributes = {
        "messaging.system": "xqueue",
        "messaging.operation.name": operation,
        "messaging.operation.type": kind,
    }
    return {**attributes, "messaging.destination.name": lane} if lane else attributes


def _message(task: Task) -> dict[str, Any]:
    return {
        "messaging.message.id": task.id,
        "messaging.message.body.size": len(task.payload),
        "xqueue.task.type": task.type,
    }


def _answered(span: Span, one: Submitting) -> None:
    answer = one.answer
    if isinstance(answer, Accepted):
        span.set_attribute("xqueue.duplicate", answer.put is Put.DUPLICATE)
    elif answer is not None:
        _failed(span, answer)


def _ended(span: Span, run: Running) -> None:
    if run.how is not None:
        span.set_attribute("xqueue.outcome", run.how.value)
    if run.how not in BAD:
        return
    failure = run.failure
    if failure is not None and (run.kind == "process" or run.error is None):
        _told(span, failure.type, failure.message, failure.traceback, failure.reason)
    elif run.error is not None:
        _failed(span, run.error)


def _failed(span: Span, error: BaseException) -> None:
    span.record_exception(error)
    span.set_attribute("error.type", _name(error))
    span.set_status(Status(StatusCode.ERROR, str(error)))


def _told(span: Span, kind: str, message: str, stack: str, reason: str) -> None:
    """An exception that was told as data, from another process."""
    if kind:
        told = {"type": kind, "message": message, "stacktrace": stack}
        span.add_event("exception", {f"exception.{key}": value for key, value in told.items()})
    span.set_attribute("error.type", kind or reason)
    span.set_status(Status(StatusCode.ERROR, message or reason))


def _name(error: BaseException) -> str:
    kind = type(error)
    module = kind.__module__
    return kind.__qualname__ if module == "builtins" else f"{module}.{kind.__qualname__}"
