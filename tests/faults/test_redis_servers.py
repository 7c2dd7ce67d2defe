"""Which servers of Redis are used, how they are reached, and which are refused."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

import services
import xqueue_redis
from services import KINDS, Server
from support.redis_links import linked, made
from xqueue_core.abc import Role
from xqueue_core.errors import BrokerError, ConfigError, Refused, Unavailable
from xqueue_core.findings import Finding, Level
from xqueue_redis import RedisBackend
from xqueue_redis.connection import Link
from xqueue_redis.rights import allowed, users
from xqueue_redis.wire import parsed

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module", params=list(KINDS))
def least(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server of each kind, with a user that has the least rights."""
    acl = f"{users(password='p4ss')}user default off\n"
    with services.redis(request.param, aof=True, acl=acl, user="xqueue:p4ss") as started:
        yield started


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server that keeps nothing."""
    with services.redis() as started:
        yield started


async def examined(server: Server | str, **changes: object) -> dict[str, Finding]:
    url = server if isinstance(server, str) else server.url
    settings = made(url, **changes)
    return {one.check: one async for one in RedisBackend().examine(settings, 5)}


# -- how they are reached ----------------------------------------------------------------------


async def test_the_least_rights_are_enough(least: Server) -> None:
    async with linked(least) as link:
        assert await link.run("count") > 0
        with pytest.raises(Refused, match=r"xqueue\.acl"):
            await link.run("forbidden")
        async with link.blocking() as reading:
            assert await reading.command("BLPOP", "{xqueue}:none", "0.01") is None


async def test_they_are_for_the_keys_of_the_namespace_alone(least: Server) -> None:
    async with linked(least) as link:
        for command in (("GET", "other"), ("FLUSHALL",), ("KEYS", "*"), ("CONFIG", "GET", "*")):
            with pytest.raises(Refused, match=r"xqueue\.acl"):
                await link.command(*command)
    with pytest.raises(ConfigError, match=r"xqueue\.acl"):
        async with linked(least, namespace="other"):
            pass


async def test_the_rights_are_those_in_use_and_no_danger(server: Server) -> None:
    async with linked(server) as link:
        known = {name.decode() for name in await link.command("COMMAND", "LIST")}
        dangerous = {name.decode() for name in await link.command("ACL", "CAT", "dangerous")}
    named = {name.partition("|")[0] for name in allowed()}
    # Those to log in are the client's own; KEYS is a word in headers, CONFIG may be lacking.
    assert named - {"auth", "select"} == (known & _words()) - {"config", "keys"}
    assert allowed() & dangerous == {"info"}


def _words() -> set[str]:
    """What stands in capitals and quotes in the backend, in lower case."""
    found: set[str] = set()
    folder = Path(xqueue_redis.__file__).parent
    for path in folder.rglob("*.lua"):
        found |= set(re.findall(r"'([A-Z]{2,})'", path.read_text("utf-8")))
    for path in folder.rglob("*.py"):
        found |= set(re.findall(r"\(\s*\"([A-Z]{2,})\"", path.read_text("utf-8")))
    return {word.lower() for word in found}


async def test_over_a_socket(server: Server) -> None:
    async with linked(f"redis+unix://{server.folder / 'socket'}") as link:
        assert await link.command("PING") == b"PONG"
        assert str(server.folder) in link.where
    gone = f"redis+unix://{server.folder / 'gone'}"
    with pytest.raises(Unavailable, match="see that the server runs"):
        async with linked(gone):
            pass


async def test_over_tls_with_the_certificate_verified(caplog: pytest.LogCaptureFixture) -> None:
    with services.redis(tls=True) as server:
        async with linked(server) as link:
            assert await link.run("echo", 1) == [b"1"]
        untrusted = server.url.partition("?")[0]
        with pytest.raises(Unavailable, match="certificate verify failed"):
            async with linked(untrusted):
                pass
        named = server.url.replace("127.0.0.1", "localhost")
        with pytest.raises(Unavailable, match="not valid for 'localhost'"):
            async with linked(named):
                pass
        assert not caplog.records
        async with linked(untrusted, allow=("persistence", "unverified-tls")) as link:
            assert await link.run("echo", 1) == [b"1"]
        assert "whoever answers is trusted" in caplog.text


async def test_a_password_of_the_url_is_used(server: Server) -> None:
    with services.redis(password="p:4/s@s") as other:
        async with linked(f"redis://:p%3A4%2Fs%40s@127.0.0.1:{other.port}") as link:
            assert await link.command("PING") == b"PONG"


async def test_sentinels_lead_to_the_primary_also_after_a_failover(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with ExitStack() as stack:
        first = stack.enter_context(services.redis(repl_diskless_sync_delay="0"))
        second = stack.enter_context(
            services.redis(replicaof=f"127.0.0.1 {first.port}", repl_diskless_sync_delay="0")
        )
        watching = stack.enter_context(services.sentinel(first))
        url = f"redis+sentinel://127.0.0.1:1,127.0.0.1:{watching.port}/first"
        async with linked(url) as link:
            assert await link.run("count") == 1
            assert link.info["tcp_port"] == str(first.port)
            await _in_step(link)
            await _known_replica(f"redis://127.0.0.1:{watching.port}")
            first.kill()
            async with asyncio.timeout(40):
                while await _count(link) != 2:
                    await asyncio.sleep(0.1)
            assert link.info["tcp_port"] == str(second.port)
    assert "lost its data" not in caplog.text


async def _in_step(link: Link) -> None:
    """Until the replica has everything."""
    async with asyncio.timeout(20):
        while await link.command("WAIT", 1, 100) != 1:
            pass


async def _known_replica(sentinel: str) -> None:
    """Until the sentinel has found the replica."""
    link = Link(made(sentinel).address(), "none", RedisBackend()._scripts, look=False)
    async with asyncio.timeout(30):
        while True:
            answer = await link.command("SENTINEL", "REPLICAS", "first")
            if answer and b"master-link-status" in answer[0]:
                state = dict(zip(answer[0][::2], answer[0][1::2], strict=True))
                if state[b"master-link-status"] == b"ok":
                    break
            await asyncio.sleep(0.1)
    await link.close()


async def _count(link: Link) -> int:
    try:
        answer: int = await link.run("count")
    except BrokerError:
        return 0
    return answer


async def test_sentinels_that_lead_nowhere(server: Server) -> None:
    with pytest.raises(Unavailable, match="none of them leads to it"):
        async with linked("redis+sentinel://127.0.0.1:1/first"):
            pass
    with (
        services.sentinel(server) as watching,
        pytest.raises(Unavailable, match="knows no primary of this name"),
    ):
        async with linked(f"redis+sentinel://127.0.0.1:{watching.port}/second"):
            pass


# -- which are refused -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("danger", "configuration", "durability"),
    [
        ("persistence", {"save": ""}, "process"),
        ("persistence", {"save": "3600 1"}, "power"),
        ("fsync", {"appendonly": "yes", "appendfsync": "everysec"}, "power"),
        (
            "eviction",
            {"appendonly": "yes", "maxmemory": "64mb", "maxmemory-policy": "allkeys-lru"},
            "process",
        ),
        ("replica", {"appendonly": "yes", "replicaof": "127.0.0.1 1"}, "process"),
    ],
)
async def test_a_danger_refuses_the_start_unless_it_is_allowed_by_name(
    danger: str, configuration: dict[str, Any], durability: str
) -> None:
    with services.redis(**configuration) as server:
        with pytest.raises(ConfigError, match=rf"\?allow={danger}"):
            async with linked(server, allow=(), durability=durability):
                pass
        found = await examined(server, allow=(), durability=durability)
        assert found[danger].level is Level.ERROR
        assert found[danger].advice
        assert [one.check for one in found.values() if one.level is Level.ERROR] == [danger]
        found = await examined(server, allow=(danger,), durability=durability)
        assert found[danger].level is Level.WARNING
        if danger != "replica":  # which would not take the namespace
            async with linked(server, allow=(danger,), durability=durability) as link:
                assert await link.command("PING") == b"PONG"


@pytest.mark.parametrize("fsync", ["always", "everysec"])
async def test_a_server_that_keeps_everything_is_used(fsync: str) -> None:
    with services.redis(aof=True, appendfsync=fsync) as server:
        durability = "power" if fsync == "always" else "process"
        async with linked(server, allow=(), durability=durability) as link:
            assert await link.command("PING") == b"PONG"
        found = await examined(server, allow=(), durability=durability)
        assert {one.level for one in found.values()} == {Level.OK}


# -- what doctor finds -------------------------------------------------------------------------


async def test_doctor_finds_nothing_wrong_and_makes_nothing(least: Server) -> None:
    found = await examined(least, allow=())
    assert {one.level for one in found.values()} <= {Level.OK, Level.WARNING}
    assert found["rights"].detail == "every command in use"
    assert list(found) == [
        *("server", "replica", "eviction", "persistence", "fsync", "memory"),
        *("server clock", "scripts", "rights", "connections", "libraries", "groups"),
        "namespace",
    ]


async def test_doctor_changes_nothing(server: Server) -> None:
    async with linked(server) as link:
        before = await link.command("DBSIZE")
        found = await examined(server, namespace="untouched")
        assert found["namespace"].level is Level.WARNING
        assert await link.command("DBSIZE") == before
        found = await examined(server)
        assert found["namespace"].level is Level.OK


async def test_doctor_names_the_rights_that_are_missing() -> None:
    acl = users(password="p4ss").replace("+hset ", "").replace("+xreadgroup ", "")
    with services.redis(aof=True, acl=acl, user="xqueue:p4ss") as server:
        found = await examined(server)
        assert found["rights"].level is Level.ERROR
        assert found["rights"].detail == "may not: hset, xreadgroup"


async def test_doctor_names_libraries_of_other_versions(server: Server) -> None:
    old = "#!lua name=xqueue_put_00000000\nredis.register_function('old', function() end)"
    async with linked(server) as link:
        assert await link.command("FUNCTION", "LOAD", old) == b"xqueue_put_00000000"
        found = (await examined(server))["libraries"]
        assert found.level is Level.WARNING
        assert found.detail.endswith("xqueue_put_00000000")
        assert "FUNCTION DELETE" in found.advice
        await link.command("FUNCTION", "FLUSH")
    assert (await examined(server))["libraries"].level is Level.OK


async def test_doctor_says_why_it_cannot_get_in(server: Server) -> None:
    found = await examined(f"redis://me:wrong@127.0.0.1:{server.port}")
    assert found["server"].level is Level.ERROR
    assert "WRONGPASS" in found["server"].detail
    assert "XQUEUE_REDIS__PASSWORD" in found["server"].advice
    found = await examined("redis://127.0.0.1:1")
    assert list(found) == ["server"]
    assert found["server"].level is Level.ERROR


async def test_doctor_is_done_in_time_with_a_server_that_stands_still() -> None:
    with services.redis() as server:
        server.pause()
        async with asyncio.timeout(4):
            settings = made(server.url)
            found = [one async for one in RedisBackend().examine(settings, 0.5)]
        assert [one.level for one in found] == [Level.ERROR]


async def test_doctor_tells_of_memory_and_connections() -> None:
    with services.redis(maxmemory="1gb", maxclients="64") as server:
        found = await examined(server)
        assert found["memory"].level is Level.OK
        assert found["connections"].level is Level.WARNING
        async with linked(server) as link:
            await link.command("SET", "{xqueue}:ballast", bytes(20_000_000))
            used = int(parsed(await link.command("INFO", "memory"))["used_memory"])
            for most, level in ((used + used // 7, Level.WARNING), (used // 2, Level.ERROR)):
                await link.command("CONFIG", "SET", "maxmemory", most)
                assert (await examined(server))["memory"].level is level


# -- the servers themselves ----------------------------------------------------------------------


async def test_a_server_of_a_test_ends_with_its_process() -> None:
    """Also if that is killed, so that it cannot end anything itself."""
    program = (
        "import services, sys, time\n"
        "with services.redis() as server:\n"
        "    print(server.pid, flush=True)\n"
        "    sys.stdin.read()\n"
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", program),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert process.stdout is not None
    pid = int(await asyncio.wait_for(process.stdout.readline(), 20))
    os.kill(pid, 0)
    process.kill()
    await process.wait()
    async with asyncio.timeout(10):
        while _runs(pid):
            await asyncio.sleep(0.02)


def _runs(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_a_worker_is_told_what_may_lose_tasks(caplog: pytest.LogCaptureFixture) -> None:
    with services.redis(save="3600 1") as server:
        settings = made(server.url, allow=())
        async with RedisBackend().open(settings, Role.CLIENT):
            assert caplog.text == ""
        async with RedisBackend().open(settings, Role.WORKER):
            assert "snapshots alone (save 3600 1)" in caplog.text
            assert "set appendonly yes" in caplog.text
