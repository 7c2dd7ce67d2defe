"""What somebody changes beside the queue stops nobody: the rest is leased, once each."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import msgspec
import pytest

import services
from support.redis_clock import clocked
from unit.redis.test_repair import Installation
from xqueue_core.calls import Put
from xqueue_core.task import Success, Task

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def server() -> Iterator[services.Server]:
    with services.redis("redis7") as server:
        yield server


@pytest.fixture
async def installation(server: services.Server) -> AsyncIterator[Installation]:
    made = Installation()
    async with clocked(server, lambda: made.now) as link:
        await made.begin(link)
        yield made


async def test_a_task_without_its_envelope_is_set_aside(installation: Installation) -> None:
    link = installation.link
    assert await link.command("HDEL", link.prefix + "t:a:ready", "e") == 1
    assert set(await installation.lease()) == {"a:early"}
    await installation.beat()
    assert (await installation.view.stats()).total().conserved


async def test_an_entry_more_of_a_task_does_not_undo_its_lease(installation: Installation) -> None:
    link, rank = installation.link, (installation.now + 0.5) * 1e6
    await link.command("XADD", link.prefix + "r:a:0", f"{rank:.0f}-0", "i", "a:early")
    installation.now += 1.0
    await installation.queue.put([Task(id="a:new", lane="a")])
    tokens = await installation.lease()
    tokens |= await installation.lease()
    assert set(tokens) == {"a:early", "a:new", "a:ready"}
    for id, token in tokens.items():
        await installation.settle(id, token, Success())


async def test_what_was_put_in_front_of_all_others_does_not_stay_there(
    installation: Installation,
) -> None:
    installation.now += 1.0
    await installation.queue.put([Task(id="a:new", lane="a")])
    link = installation.link
    await link.command("ZADD", link.prefix + "early:a:0", 1, "a:new")
    got = [id for _ in range(4) for id in await installation.lease(1)]
    assert sorted(got) == ["a:early", "a:new", "a:ready"]


async def test_a_level_that_is_gone_does_not_stand_before_others(
    installation: Installation,
) -> None:
    await installation.lease()
    await installation.queue.put([Task(id=f"a:high{n}", lane="a", priority=9) for n in range(2)])
    await installation.queue.put([Task(id=f"a:low{n}", lane="a") for n in range(2)])
    link = installation.link
    assert await link.command("DEL", link.prefix + "r:a:9") == 1
    got = [id for _ in range(2) for id in await installation.lease(2)]
    assert sorted(got) == ["a:low0", "a:low1"]


async def test_what_another_has_read_is_leased(installation: Installation) -> None:
    installation.now += 1.0
    await installation.queue.put([Task(id="a:new", lane="a")])
    link = installation.link
    read = ("XREADGROUP", "GROUP", "x", "other", "STREAMS", link.prefix + "r:a:0", ">")
    assert await link.command(*read)
    for _ in range(3):
        await installation.lease()
        await installation.passes(61.0)
    assert {"a:early", "a:new", "a:ready"} <= set(installation.held)
    assert await link.command("SCARD", link.prefix + "repair") == 0


async def test_a_unique_key_of_a_task_that_is_not_there_holds_nobody_back(
    installation: Installation,
) -> None:
    link = installation.link
    held = msgspec.msgpack.encode(("a:gone", -1))
    assert await link.command("SET", link.prefix + "u:a:key", held)
    [answer] = await installation.queue.put([Task(id="a:new", lane="a", unique_key="key")])
    assert answer.put is Put.NEW
    [answer] = await installation.queue.put([Task(id="a:other", lane="a", unique_key="key")])
    assert (answer.put, answer.of) == (Put.DUPLICATE, "a:new")
