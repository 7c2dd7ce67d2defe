"""Spans of submits and attempts, over every event loop and both brokers."""

from __future__ import annotations

import asyncio
from typing import Any

import anyio.lowlevel
import pytest
from opentelemetry import baggage, context, trace
from opentelemetry.trace import SpanKind, StatusCode

from support.hosts import hosted
from support.recorder import recorded
from support.spans import Traces, id_of, parent_of, trace_of
from support.workers import until
from xqueue_core import Context, RetryPolicy, TaskFailed, XQueue
from xqueue_opentelemetry import OpenTelemetryPlugin

pytestmark = pytest.mark.anyio

SOON = RetryPolicy(base=0.01)


@pytest.fixture
def traces() -> Traces:
    """Where spans go."""
    return Traces()


def traced(url: str, traces: Traces, **settings: Any) -> XQueue:
    """An app whose spans go there."""
    return recorded(url, OpenTelemetryPlugin(traces.provider), "opentelemetry", **settings)


def now() -> str:
    """The trace and span that are current."""
    found = trace.get_current_span().get_span_context()
    return f"{found.trace_id} {found.span_id}"


async def test_one_trace_from_the_submit_through_every_attempt(
    url: str, host: str, traces: Traces
) -> None:
    async with traced(url, traces) as app:

        @app.task(max_retry=1, retry=SOON)
        async def job(ctx: Context) -> str:
            await anyio.lowlevel.checkpoint()
            if ctx.attempt == 1:
                raise KeyError("first")
            return now()

        @app.task(max_retry=0)
        def plain() -> str:
            return now()

        tracer = traces.provider.get_tracer("test")
        async with hosted(app, host):
            with tracer.start_as_current_span("request"):
                handle = await job.submit()
                other = await plain.submit()
            results = [await handle.result(10), await other.result(10)]
            await until("all spans are there", lambda: len(traces.named("process plain")) == 1)
    (request,), (send,) = traces.named("request"), traces.named("send job")
    assert (send.kind, parent_of(send)) == (SpanKind.PRODUCER, id_of(request))
    assert send.attributes is not None
    assert send.attributes["messaging.message.id"] == handle.id
    assert send.attributes["messaging.destination.name"] == "job"
    assert send.attributes["messaging.operation.type"] == "send"
    assert send.attributes["messaging.system"] == "xqueue"
    assert send.attributes["xqueue.duplicate"] is False
    first, second = traces.named("process job")
    for span, attempt in ((first, 1), (second, 2)):
        assert (span.kind, parent_of(span)) == (SpanKind.CONSUMER, id_of(send))
        assert trace_of(span) == trace_of(request)
        assert [link.context.span_id for link in span.links] == [id_of(send)]
        assert span.attributes is not None
        assert span.attributes["xqueue.attempt"] == attempt
        assert span.attributes["messaging.operation.type"] == "process"
    assert first.status.status_code is StatusCode.ERROR
    assert first.attributes is not None
    assert first.attributes["xqueue.outcome"] == "retry"
    assert first.attributes["error.type"] == "KeyError"
    (event,) = first.events
    assert event.attributes is not None
    assert event.attributes["exception.type"] == "KeyError"
    assert "in job" in str(event.attributes["exception.stacktrace"])
    assert second.status.status_code is StatusCode.UNSET
    assert second.attributes is not None
    assert second.attributes["xqueue.outcome"] == "success"
    # What the handler sees as current is its attempt.
    (span,) = traces.named("process plain")
    assert results == [f"{trace_of(one)} {id_of(one)}" for one in (second, span)]


async def test_what_a_handler_submits_is_its_child(url: str, host: str, traces: Traces) -> None:
    async with traced(url, traces) as app:

        @app.task
        async def inner() -> None: ...

        @app.task
        async def outer(ctx: Context) -> str:
            return str((await ctx.submit("inner")).id)

        async with hosted(app, host):
            inner_id = await (await outer.submit()).result(10)
            await app.handle(inner_id).result(10)
    (outer_span,), (send,) = traces.named("process outer"), traces.named("send inner")
    (inner_span,) = traces.named("process inner")
    assert parent_of(send) == id_of(outer_span)
    assert parent_of(inner_span) == id_of(send)
    assert len({trace_of(one) for one in (outer_span, send, inner_span)}) == 1


async def test_each_task_of_many_has_a_span_that_the_batch_links(url: str, traces: Traces) -> None:
    async with traced(url, traces) as app:

        @app.task
        async def job(n: int) -> None: ...

        async with hosted(app, "asyncio"):
            for handle in await app.submit_many(job.call(n) for n in range(3)):
                await handle.result(10)
    created, (send,) = traces.named("create job"), traces.named("send job")
    assert [span.kind for span in created] == [SpanKind.PRODUCER] * 3
    assert send.kind is SpanKind.CLIENT
    assert send.attributes is not None
    assert send.attributes["messaging.batch.message_count"] == 3
    assert [link.context.span_id for link in send.links] == [id_of(span) for span in created]
    parents = {parent_of(span) for span in traces.named("process job")}
    assert parents == {id_of(span) for span in created}


async def test_many_may_share_one_span(url: str, traces: Traces) -> None:
    async with traced(url, traces, opentelemetry={"create_spans": False}) as app:

        @app.task
        async def job(n: int) -> None: ...

        handles = await app.submit_many(job.call(n) for n in range(3))
        infos = await asyncio.gather(*(handle.info() for handle in handles))
    (send,) = traces.named("send job")
    assert not traces.named("create job")
    assert send.kind is SpanKind.PRODUCER
    parents = {info.task.headers["traceparent"] for info in infos if info.task is not None}
    assert {one[:-3] for one in parents} == {f"00-{trace_of(send):032x}-{id_of(send):016x}"}


async def test_an_attempt_may_have_a_trace_of_its_own(url: str, traces: Traces) -> None:
    async with traced(url, traces, opentelemetry={"trace": "link"}) as app:

        @app.task
        async def job() -> str:
            return str(baggage.get_baggage("tenant"))

        async with hosted(app, "asyncio"):
            token = context.attach(baggage.set_baggage("tenant", "acme"))
            handle = await job.submit()
            context.detach(token)
            assert await handle.result(10) == "acme"  # baggage travels all the same
    (send,), (span,) = traces.named("send job"), traces.named("process job")
    assert parent_of(span) is None
    assert trace_of(span) != trace_of(send)
    assert [link.context.span_id for link in span.links] == [id_of(send)]


async def test_a_submit_that_fails_and_one_that_is_a_duplicate(url: str, traces: Traces) -> None:
    async with traced(url, traces, max_payload=100) as app:

        @app.task
        async def job(text: str = "") -> None: ...

        with pytest.raises(Exception, match="bytes"):
            await job.submit("x" * 200)
        with pytest.raises(Exception, match="bytes"):
            await app.submit_many([job.call(), job.call("x" * 200)])
        for _ in range(2):
            await job.options(id="one").submit()
    failed, batch, new, duplicate = traces.named("send job")
    for span in (failed, batch):
        assert span.status.status_code is StatusCode.ERROR
        assert span.attributes is not None
        assert span.attributes["error.type"] == "xqueue_core.errors.PayloadTooLarge"
    told = [span.attributes and span.attributes["xqueue.duplicate"] for span in (new, duplicate)]
    assert told == [False, True]


async def test_spans_from_trio_and_plain_code_have_their_callers_parent(
    url: str, traces: Traces
) -> None:
    app = traced(url, traces)
    tracer = traces.provider.get_tracer("test")

    @app.task
    async def job() -> None: ...

    def plainly() -> None:
        with tracer.start_as_current_span("plain"):
            job.sync.submit()
        app.sync.close()

    def on_trio() -> None:
        import trio

        async def main() -> None:
            with tracer.start_as_current_span("trio"):
                await job.submit()
            await app.aclose()

        trio.run(main)

    await asyncio.to_thread(plainly)
    await asyncio.to_thread(on_trio)
    parents = [parent_of(span) for span in traces.named("send job")]
    assert parents == [id_of(traces.named(name)[0]) for name in ("plain", "trio")]


async def test_nothing_of_it_leaks_between_tasks(url: str, host: str, traces: Traces) -> None:
    async with traced(url, traces) as app:

        @app.task(max_retry=0)
        async def job(n: int) -> str:
            await anyio.lowlevel.checkpoint()
            if n % 2:
                raise ValueError(n)
            return now()

        async with hosted(app, host):
            handles = await app.submit_many(job.call(n) for n in range(10))
            seen = []
            for n, handle in enumerate(handles):
                if n % 2:
                    with pytest.raises(TaskFailed):
                        await handle.result(10)
                else:
                    seen.append(await handle.result(10))
    assert len(set(seen)) == 5
    assert len({parent_of(span) for span in traces.named("process job")}) == 10
    assert not trace.get_current_span().get_span_context().is_valid
