"""A script that raises: what it wrote stays, so whether anything was done must be told."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator

import pytest
from redis.exceptions import ResponseError

import services
from support.redis_links import command
from xqueue_core.calls import Beat, Put, Settle, Settled, Want
from xqueue_core.errors import Refused, Unavailable, Unknown
from xqueue_core.stored.options import StoredOptions
from xqueue_core.task import Success, Task
from xqueue_redis.address import Address
from xqueue_redis.calling import Way, run
from xqueue_redis.connection import Link
from xqueue_redis.failures import HalfWay, failure
from xqueue_redis.queue import RedisQueue
from xqueue_redis.rights import users
from xqueue_redis.scripts import Scripts, assembled, header, names, source
from xqueue_redis.wire import Wire, dial

pytestmark = pytest.mark.anyio

KINDS = ["redis7", "redis8", "valkey"]
TASKS = [Task(id=f"t:{n}", lane="l") for n in range(3)]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module", params=KINDS)
def server(request: pytest.FixtureRequest) -> Iterator[services.Server]:
    acl = f"{users('half', 'p4ss')}user default on nopass ~* +@all\n"
    with services.redis(request.param, acl=acl, user="default:any") as server:
        yield server


def address(server: services.Server, user: str = "") -> Address:
    return Address(hosts=(("127.0.0.1", server.port),), username=user, password=user and "p4ss")


@pytest.fixture
async def link(server: services.Server) -> AsyncIterator[Link]:
    """Of the user with the least rights, of which a test may take some."""
    await command(server, "FLUSHALL")
    await with_all(server)
    link = Link(address(server, "xqueue"), "half", Scripts())
    try:
        yield link
    finally:
        await link.close()


async def without(server: services.Server, right: str) -> None:
    await command(server, "ACL", "SETUSER", "xqueue", f"-{right}")


async def with_all(server: services.Server) -> None:
    await command(server, "ACL", "SETUSER", "xqueue", "+hincrby", "+exists")


async def test_one_that_raised_behind_its_writes_may_have_done_it(
    server: services.Server, link: Link
) -> None:
    queue = RedisQueue(link, StoredOptions())
    await link.command("HSET", "{half}:counts", "l/t/accepted", "not a number")
    with pytest.raises(Unknown, match=r"not an integer.*half way") as caught:
        await queue.put(TASKS)
    assert caught.value.answered
    assert await link.command("EXISTS", "{half}:t:t:0") == 1, "it was done in part"
    await link.command("HDEL", "{half}:counts", "l/t/accepted")
    assert {one.put for one in await queue.put(TASKS)} == {Put.DUPLICATE}


async def test_a_right_that_lacks_is_told_also_half_way(
    server: services.Server, link: Link
) -> None:
    queue = RedisQueue(link, StoredOptions())
    await queue.put(TASKS)
    await without(server, "hincrby")
    with pytest.raises(Unknown, match=r"half way.*xqueue\.acl"):
        await queue.put([Task(id="t:other", lane="l")])
    await with_all(server)
    await queue.extend(Beat(worker="w"), [])
    leased = await queue.lease([Want("l", 3)], 3, 1, "w", 0.0)
    assert len(leased.deliveries) == 3
    await without(server, "hincrby")
    ends = [Settle(one.task.id, one.token, Success()) for one in leased.deliveries]
    with pytest.raises(Unknown, match=r"half way.*xqueue\.acl"):
        await queue.settle(ends)
    await with_all(server)
    assert set(await queue.settle(ends)) == {Settled.REPEATED}


async def test_one_that_raised_in_front_of_its_writes_did_nothing(
    server: services.Server, link: Link
) -> None:
    queue = RedisQueue(link, StoredOptions())
    with pytest.raises(Refused):
        await link.run("put", "t:a", b"\xc1", "e", "")
    await without(server, "exists")
    with pytest.raises(Refused, match=r"xqueue\.acl"):
        await queue.put(TASKS)
    await with_all(server)
    assert {one.put for one in await queue.put(TASKS)} == {Put.NEW}


async def test_what_the_server_refuses_by_itself_did_nothing(
    server: services.Server, link: Link
) -> None:
    queue = RedisQueue(link, StoredOptions())
    await queue.put(TASKS)
    await command(server, "CONFIG", "SET", "maxmemory", "1")
    try:
        with pytest.raises(Unavailable, match="OOM"):
            await queue.put([Task(id="t:x", lane="l")])
    finally:
        await command(server, "CONFIG", "SET", "maxmemory", "0")
    assert await link.command("EXISTS", "{half}:t:t:x") == 0


@pytest.fixture
async def wire(server: services.Server) -> AsyncIterator[Wire]:
    made = await dial(address(server), "test")
    yield made
    await made.drop()


async def test_a_script_without_a_library_may_have_done_it(wire: Wire) -> None:
    """Which of its commands came first nobody notes there."""
    await wire.ask("CONFIG", "SET", "maxmemory", "1")  # where nothing can be loaded
    try:
        for flags, kind in (("allow-oom", HalfWay), ("allow-oom,no-writes", Refused)):
            script = assembled("broken", ["return nothing.here"], flags)
            with pytest.raises(ResponseError) as caught:
                await run(wire, Way(), script, "{half}:meta", [])
            assert type(failure(caught.value, "here", sent=True)) is kind
    finally:
        await wire.ask("CONFIG", "SET", "maxmemory", "0")


# -- the rules --------------------------------------------------------------------------------


def reads() -> set[str]:
    """The commands of which ``base.lua`` says so."""
    table = source("lib/base").partition("local READS = {")[2].partition("}")[0]
    return set(re.findall(r"(\w+) = true", table))


async def test_what_counts_as_reading_writes_nothing(server: services.Server) -> None:
    for name in sorted(reads()):
        assert "write" not in str(await command(server, "COMMAND", "INFO", name)), name
    assert "write" in str(await command(server, "COMMAND", "INFO", "XGROUP|CREATE"))
    assert {"HGET", "ZRANGE"} < reads()


@pytest.mark.parametrize("name", names())
def test_every_write_is_noted(name: str) -> None:
    own = source(name)
    libs = header(own).get("libs", "").split()
    assert "base" in libs or "no-writes" in header(own)["flags"]
    for text in [own, *(source(f"lib/{lib}") for lib in libs if lib != "base")]:
        direct = set(re.findall(r"redis\.p?call\('([A-Z]+)'", text))
        assert direct <= reads(), f"{name}: by call() or try() in place of redis.call()"
