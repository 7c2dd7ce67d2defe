"""A node of a Redis Cluster holds a namespace: all keys of one lie in one slot."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from redis import Redis

import services
from support.demo_runs import wait_until
from xqueue_core import ConfigError, XQueue
from xqueue_core.calls import Beat, Put, Settle, Settled, Want
from xqueue_core.conformance import BackendHarness, all_cases, run
from xqueue_core.conformance.cases import choose
from xqueue_core.errors import BrokerError, Refused, Unavailable
from xqueue_core.stored.options import StoredOptions
from xqueue_core.task import State, Success, Task
from xqueue_core.views import TaskInfo
from xqueue_redis import RedisBackend
from xqueue_redis.address import Address
from xqueue_redis.connection import Link
from xqueue_redis.failures import HalfWay
from xqueue_redis.queue import RedisQueue
from xqueue_redis.scripts import Scripts
from xqueue_redis.settings import RedisSettings
from xqueue_redis.view import RedisView

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


async def load(link: Link, put: set[str], ended: set[str], errors: list[BaseException]) -> None:
    """Submit and end tasks, one call after the other, until the server has them no more."""
    queue = RedisQueue(link, StoredOptions())
    for n in range(1, 100_000):
        try:
            tasks = [Task(id=f"t:{n}-{i}", lane="l") for i in range(5)]
            answers = await queue.put(tasks)
            put |= {one.id for one, got in zip(tasks, answers, strict=True) if got.put is Put.NEW}
            await queue.extend(Beat(worker="w", answered=n - 1), [])
            leased = await queue.lease([Want("l", 3)], 3, n, "w", 0.0)
            ends = [Settle(one.task.id, one.token, Success()) for one in leased.deliveries]
            verdicts = await queue.settle(ends)
            done = {
                one.id for one, got in zip(ends, verdicts, strict=True) if got is Settled.APPLIED
            }
            assert not done & ended
            ended |= done
        except BrokerError as error:
            errors.append(error)
            if "MOVED" in str(error):
                return


def move(slot: int, source: tuple[Ask, str], target: tuple[Ask, str], port: int) -> Iterator[None]:
    """Move a slot as ``redis-cli --cluster reshard`` does, a few keys at a time."""
    ask, ask_target = source[0], target[0]
    ask_target("CLUSTER", "SETSLOT", slot, "IMPORTING", source[1])
    ask("CLUSTER", "SETSLOT", slot, "MIGRATING", target[1])
    while keys := ask("CLUSTER", "GETKEYSINSLOT", slot, 10):
        ask("MIGRATE", "127.0.0.1", port, "", 0, 5000, "KEYS", *keys)
        yield
    for one in (ask_target, ask):
        one("CLUSTER", "SETSLOT", slot, "NODE", target[1])


@pytest.mark.anyio
@pytest.mark.timeout(120)
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("kind", ["redis7", "valkey"])
async def test_a_slot_that_moves_under_load_loses_nothing(kind: str) -> None:
    half = SLOTS // 2
    with (
        node(kind, 0, half - 1) as (low, ask, _),
        node(kind, half, SLOTS - 1) as (high, ask_high, bus),
    ):
        ask("CLUSTER", "MEET", "127.0.0.1", high.port, bus)
        wait_until("the nodes know each other", lambda: in_step(ask) and in_step(ask_high))
        slot = ask("CLUSTER", "KEYSLOT", "{xqueue}:meta")
        ids = [one("CLUSTER", "MYID").decode() for one in (ask, ask_high)]
        put, ended, errors = set[str](), set[str](), list[BaseException]()
        link = Link(Address(hosts=(("127.0.0.1", high.port),)), "xqueue", Scripts())
        loading = asyncio.create_task(load(link, put, ended, errors))
        while len(ended) < 30:
            await asyncio.sleep(0.01)
        for _ in move(slot, (ask_high, ids[1]), (ask, ids[0]), low.port):
            await asyncio.sleep(0.01)
        await loading
        await link.close()
        # A script that has to do with keys which are elsewhere by then raises, maybe half way.
        assert {type(one) for one in errors} <= {HalfWay, Unavailable, Refused}
        assert any("moving" in str(one) for one in errors)
        assert "MOVED" in str(errors[-1])
        await all_there(low.port, put, ended)


async def all_there(port: int, put: set[str], ended: set[str]) -> None:
    """What was accepted is there, and what had not ended runs."""
    link = Link(Address(hosts=(("127.0.0.1", port),)), "xqueue", Scripts())
    queue, view = RedisQueue(link, StoredOptions()), RedisView(link, StoredOptions())
    found: Sequence[TaskInfo | None] = []
    try:
        await queue.extend(Beat(worker="v", lanes=["l"]), [])
        for n in range(1, 1_000):
            await queue.extend(Beat(worker="w", answered=10**9), [])  # it knows of nothing more
            await queue.extend(Beat(worker="v", answered=n - 1, lanes=["l"]), [])
            leased = await queue.lease([Want("l", 100)], 100, n, "v", 0.0)
            ends = [Settle(one.task.id, one.token, Success()) for one in leased.deliveries]
            assert set(await queue.settle(ends)) <= {Settled.APPLIED}
            assert not ended & {one.id for one in ends}
            await queue.maintain(1.0)
            found = await view.find(sorted(put))
            if all(one is not None and one.state is State.SUCCESS for one in found):
                break
        else:
            raise AssertionError(
                [one for one in found if not one or one.state is not State.SUCCESS]
            )
        total = (await view.stats()).total()
        assert total.quarantined == 0
    finally:
        await link.close()
