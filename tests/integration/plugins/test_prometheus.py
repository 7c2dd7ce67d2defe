"""What Prometheus is shown, over both brokers, at a port and in a web app."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import prometheus_client
import pytest
from prometheus_client import CollectorRegistry

from support.hosts import Hosted, hosted
from support.recorder import recorded
from support.workers import until
from xqueue_core import ConfigError, Context, PluginFailed, RetryPolicy, TaskFailed, XQueue
from xqueue_core.views import LaneStats, Stats, TypeStats
from xqueue_prometheus import PrometheusPlugin, metrics_app, registry
from xqueue_prometheus.depth import Depth

pytestmark = pytest.mark.anyio


@pytest.fixture
def plugin() -> PrometheusPlugin:
    """One plugin, with a registry of its own."""
    return PrometheusPlugin()


def counted(url: str, plugin: PrometheusPlugin, **own: Any) -> XQueue:
    """An app with the plugin; it listens nowhere unless it is told to."""
    return recorded(url, plugin, "prometheus", prometheus={"port": 0, **own})


def value(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    """A sample."""
    return registry.get_sample_value(name, labels)


@contextmanager
def taken() -> Iterator[int]:
    """A port that somebody listens at, with a free one behind it, for all that can be known."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        one.listen()
        yield one.getsockname()[1]


def fetch(port: int) -> str:
    """What is shown there."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        text: str = answer.read().decode()
    return text


async def test_submits_starts_and_outcomes_are_counted(
    url: str, host: str, plugin: PrometheusPlugin
) -> None:
    async with counted(url, plugin) as app:

        @app.task(lane="one", max_retry=1, retry=RetryPolicy(base=0.01))
        async def job(ctx: Context) -> None:
            if ctx.attempt == 1:
                raise KeyError

        @app.task(lane="one", max_retry=0)
        def plain() -> None:
            raise ValueError

        async with hosted(app, host):
            handles = await app.submit_many([job.call(), job.options(id="a").call(), plain.call()])
            assert (await job.options(id="a").submit()).duplicate
            for handle in handles[:2]:
                await handle.result(10)
            with pytest.raises(TaskFailed):
                await handles[2].result(10)
            found = plugin.registry
            await until(
                "all is counted",
                lambda: value(found, "xqueue_outcomes_total", type="plain", outcome="failed"),
            )
            await until("a status is there", lambda: (value(found, "xqueue_slots") or 0) == 100)
            assert value(found, "xqueue_workers") == 1
    assert value(found, "xqueue_submits_total", type="job", answer="new") == 2
    assert value(found, "xqueue_submits_total", type="job", answer="duplicate") == 1
    assert value(found, "xqueue_submits_total", type="plain", answer="new") == 1
    assert value(found, "xqueue_starts_total", type="job") == 4
    assert value(found, "xqueue_outcomes_total", type="job", outcome="retry") == 2
    assert value(found, "xqueue_outcomes_total", type="job", outcome="success") == 2
    assert value(found, "xqueue_run_seconds_count", type="job") == 4
    assert value(found, "xqueue_queue_seconds_count", type="plain") == 1
    assert value(found, "xqueue_leased_total", lane="one") == 5
    assert value(found, "xqueue_workers") == 0
    assert value(found, "xqueue_slots") == 0


async def test_how_many_run_and_wait(url: str, host: str, plugin: PrometheusPlugin) -> None:
    async with counted(url, plugin, depth_every=0.1) as app:
        go = threading.Event()

        @app.task(max_concurrency=2)
        def job() -> None:
            go.wait(20)

        async with hosted(app, host):
            handles = await app.submit_many(job.call() for _ in range(40))
            found = plugin.registry
            try:
                await until("two run", lambda: value(found, "xqueue_slots_used") == 2, every=0.1)
                assert value(found, "xqueue_permits", lane="job") == 2

                async def pending() -> bool:
                    get = found.get_sample_value
                    labels = {"lane": "job", "state": "pending"}
                    return (await asyncio.to_thread(get, "xqueue_tasks", labels) or 0) > 0

                await until("some wait", pending, every=0.1)
                oldest = await asyncio.to_thread(value, found, "xqueue_oldest_seconds", lane="job")
                assert oldest is not None
                assert oldest > 0
            finally:
                go.set()
            for handle in handles:
                await handle.result(10)


async def test_labels_are_those_of_declared_types_alone(url: str, plugin: PrometheusPlugin) -> None:
    async with counted(url, plugin) as app:
        other = counted(url, PrometheusPlugin())
        other._backends = app._backends

        @other.task
        async def foreign() -> None: ...

        await foreign.submit()
        for _ in range(3):
            await app.submit("foreign")
        await other.aclose()
    assert value(plugin.registry, "xqueue_submits_total", type="other", answer="new") == 3
    assert value(plugin.registry, "xqueue_submits_total", type="foreign", answer="new") is None


async def test_a_worker_listens_at_the_first_free_port(url: str, plugin: PrometheusPlugin) -> None:
    with taken() as port:
        async with counted(url, plugin, port=port, ports=20) as app:

            @app.task
            async def job() -> None: ...

            async with hosted(app, "asyncio"):
                await (await job.submit()).result(10)
                found = plugin.port
                assert found is not None
                assert port < found <= port + 19
                text = await asyncio.to_thread(fetch, found)
                assert 'xqueue_starts_total{type="job"} 1.0' in text
            assert plugin.port is None
            with pytest.raises(OSError, match="refused"):
                await asyncio.to_thread(fetch, found)


async def test_a_port_that_is_taken_ends_the_start(url: str, plugin: PrometheusPlugin) -> None:
    with taken() as port:
        app = counted(url, plugin, port=port)

        @app.task
        async def job() -> None: ...

        worker = Hosted(app, "asyncio")
        worker.start()
        error = await worker.ended()
    assert isinstance(error, PluginFailed)
    assert f"no port {port} at 127.0.0.1 is free" in str(error)


async def test_two_workers_of_one_process_share_a_port(url: str, plugin: PrometheusPlugin) -> None:
    with taken() as port:
        async with counted(url, plugin, port=port, ports=20) as app:

            @app.task
            async def job() -> None: ...

            async with hosted(app, "asyncio"):
                async with hosted(app, "asyncio"):
                    found = plugin.registry
                    await until("both work", lambda: value(found, "xqueue_slots") == 200)
                assert plugin.port is not None
                assert value(found, "xqueue_slots") == 100
            assert plugin.port is None


async def test_a_web_app_shows_them(url: str, plugin: PrometheusPlugin) -> None:
    app = counted(url, plugin)
    shown = metrics_app(app)

    @app.task
    async def job() -> None: ...

    async with app:
        await job.submit()
        sent: list[dict[str, Any]] = []

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        accept = [(b"Accept", b"application/openmetrics-text; version=1.0.0")]
        await shown({"type": "http", "headers": accept}, None, send)
        assert sent[0]["status"] == 200
        assert b"openmetrics" in dict(sent[0]["headers"])[b"content-type"]
        assert b'xqueue_submits_total{answer="new",type="job"} 1.0' in sent[1]["body"]
        assert registry(app) is plugin.registry
    without = XQueue(url)
    with pytest.raises(ConfigError, match="XQUEUE_PLUGINS=prometheus"):
        registry(without)
    shared = prometheus_client.REGISTRY.collect()
    assert not [one.name for one in shared if one.name.startswith("xqueue")]


async def test_failures_of_hooks_are_shown(url: str, plugin: PrometheusPlugin) -> None:
    async with counted(url, plugin) as app:
        app._plugins.failed("demo", "run", ValueError("x"))
        app._plugins.failed("demo", "run", ValueError("x"))
        assert value(plugin.registry, "xqueue_plugin_errors_total", plugin="demo", hook="run") == 2


@pytest.mark.parametrize(
    ("own", "said"),
    [
        ({"buckets": [2, 1]}, "prometheus.buckets"),
        ({"port": 70_000}, "prometheus.port"),
        ({"prot": 1}, "did you mean 'port'"),
    ],
)
async def test_wrong_settings(own: dict[str, Any], said: str, plugin: PrometheusPlugin) -> None:
    app = counted("memory://", plugin, **own)
    with pytest.raises(ConfigError, match=said):
        await app.__aenter__()


# -- how much waits ------------------------------------------------------------------------------


class View:
    """Answers when it is let."""

    def __init__(self) -> None:
        self.asked = 0
        self.answers = asyncio.Event()
        self.answers.set()

    async def stats(self) -> Stats:
        """One lane of ours, two of others."""
        self.asked += 1
        await self.answers.wait()
        row = {"t": TypeStats(pending=2, scheduled=1)}
        return Stats(
            lanes={
                "mine": LaneStats(types=row, oldest_at=90.0),
                "a": LaneStats(types=row, oldest_at=50.0),
                "b": LaneStats(types=row),
            },
            at=100.0,
        )


def samples(depth: Depth) -> dict[tuple[str, ...], float]:
    """Every sample by its name and labels."""
    return {
        (one.name, *one.labels.values()): one.value
        for family in depth.families({"mine"}, "other")
        for one in family.samples
    }


async def test_the_broker_is_asked_seldom_and_lanes_of_others_are_summed() -> None:
    time = 1000.0
    view: Any = View()
    depth = Depth(view, every=10, timeout=5, clock=lambda: time)
    found = await asyncio.to_thread(samples, depth)
    assert found["xqueue_depth_up",] == 1
    assert found["xqueue_tasks", "mine", "pending"] == 2
    assert found["xqueue_tasks", "other", "scheduled"] == 2
    assert found["xqueue_oldest_seconds", "mine"] == 10
    assert found["xqueue_oldest_seconds", "other"] == 50
    assert await asyncio.to_thread(samples, depth) == found
    assert samples(depth) == found  # on its own loop, too
    assert view.asked == 1
    time = 1010.0
    await asyncio.to_thread(samples, depth)
    assert view.asked == 2


async def test_a_broker_that_does_not_answer_holds_nobody_up(
    caplog: pytest.LogCaptureFixture,
) -> None:
    view: Any = View()
    view.answers.clear()
    depth = Depth(view, every=10, timeout=0.05)
    with caplog.at_level(logging.WARNING, "xqueue.plugins"):
        assert await asyncio.to_thread(samples, depth) == {("xqueue_depth_up",): 0}
    assert "does not say how much waits" in caplog.text
