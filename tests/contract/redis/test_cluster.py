"""A node of a Redis Cluster holds a namespace: all keys of one lie in one slot."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
from redis import Redis

import services
from support.demo_runs import wait_until
from xqueue_core import ConfigError, XQueue
from xqueue_core.conformance import BackendHarness, all_cases, run
from xqueue_core.conformance.cases import choose
from xqueue_redis import RedisBackend
from xqueue_redis.settings import RedisSettings

#: Of how many cases one is tried: each script is run by many of them.
ONE_OF = 6
SLOTS = 16_384

Ask = Callable[..., Any]


@contextmanager
def node(kind: str, first: int, last: int) -> Iterator[tuple[services.Server, Ask, int]]:
    """A node that has these slots, what asks it, and the port of its bus."""
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        bus = asked.getsockname()[1]
    with (
        services.redis(kind, aof=True, cluster_enabled="yes", cluster_port=str(bus)) as server,
        Redis(port=server.port) as client,
    ):
        ask: Ask = client.execute_command
        ask("CLUSTER", "ADDSLOTSRANGE", first, last)
        yield server, ask, bus


def in_step(ask: Ask) -> bool:
    """True if the node serves its slots, and knows that others serve the rest."""
    return "cluster_state:ok" in str(ask("CLUSTER", "INFO"))


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("kind", ["redis7", "valkey"])
def test_no_script_crosses_slots(kind: str) -> None:
    """The server itself refuses one that does, though all of the slots are its own."""
    with node(kind, 0, SLOTS - 1) as (server, ask, _):
        wait_until("it serves its slots", lambda: in_step(ask))

        def made(namespace: str, changes: Mapping[str, Any]) -> RedisSettings:
            given = {"namespace": namespace, "hosts": (f"127.0.0.1:{server.port}",)}
            return RedisSettings.model_validate({**given, **changes})

        harness = BackendHarness(RedisBackend(), made, name="a node of a cluster")
        chosen, _ = choose(harness, all_cases())
        report = run(harness, only=[one.id for one in chosen[::ONE_OF]], at_once=8)
    assert {id: one for id, one in report.results.items() if not one.passed} == {}
    assert len(report.results) > 40


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_node_without_the_namespace_refuses_and_names_the_one_that_has_it() -> None:
    half = SLOTS // 2
    with (
        node("redis7", 0, half - 1) as (low, ask, _),
        node("redis7", half, SLOTS - 1) as (high, ask_high, bus),
    ):
        ask("CLUSTER", "MEET", "127.0.0.1", high.port, bus)
        wait_until("the nodes know each other", lambda: in_step(ask) and in_step(ask_high))
        assert ask("CLUSTER", "KEYSLOT", "{xqueue}:meta") >= half
        async with XQueue(high.url).connect() as connection:
            assert (await connection.faces.queue.describe())["workers"] == 0
        with pytest.raises(ConfigError, match=rf"MOVED \d+ 127\.0\.0\.1:{high.port}.*node of a"):
            async with XQueue(low.url).connect():
                pass
