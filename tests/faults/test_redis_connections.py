"""What happens to calls when a server of Redis fails them, or its connections do."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Iterator

import pytest

import services
from services import Server
from support.redis_links import linked
from xqueue_core.conformance.proxy import Proxy
from xqueue_core.errors import ConfigError, NoDatabase, Refused, Unavailable, Unknown
from xqueue_redis.connection import RUN_ID, Link
from xqueue_redis.failures import ScriptRefused

pytestmark = pytest.mark.anyio

#: Seconds for a call that gets no answer, and by when it has ended for sure.
TIMEOUT, LATE = 0.5, 3.0


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server for the tests that do it no harm."""
    with services.redis() as started:
        yield started


@pytest.fixture
def own() -> Iterator[Server]:
    """A server of the test's own, which keeps its data."""
    with services.redis(aof=True) as started:
        yield started


async def count(link: Link) -> int:
    answer: int = await link.run("count")
    return answer


# -- calls -----------------------------------------------------------------------------------


async def test_a_script_gets_its_arguments_as_bytes(server: Server) -> None:
    async with linked(server) as link:
        given = await link.run("echo", b"\x00\xff", "\u00e4", 7, 0.25, RUN_ID)
        assert given == [b"\x00\xff", "\u00e4".encode(), b"7", b"0.25", link.run_id.encode()]
        assert link.prefix == "{xqueue}:"


async def test_scripts_that_the_server_forgot_are_loaded_again(server: Server) -> None:
    async with linked(server, namespace="forgetful") as link:
        assert await count(link) == 1
        await link.command("FUNCTION", "FLUSH")
        assert [await count(link) for _ in range(3)] == [2, 3, 4]


async def test_what_a_script_refuses_has_its_code(server: Server) -> None:
    async with linked(server) as link:
        with pytest.raises(ScriptRefused, match="there is no room") as caught:
            await link.run("refuse")
        assert caught.value.code == "FULL"
        with pytest.raises(Refused, match="nothing"):
            await link.run("broken")
        assert await link.run("echo", 1) == [b"1"]


async def test_calls_overlap_over_a_handful_of_connections(server: Server) -> None:
    async with linked(server) as link:
        answers = await asyncio.gather(*(link.run("echo", n) for n in range(500)))
        assert answers == [[b"%d" % n] for n in range(500)]
        clients = (await link.command("CLIENT", "LIST")).decode()
        assert 1 <= clients.count("name=xqueue:xqueue") <= 4


async def test_five_hundred_clients_connect_at_once(server: Server) -> None:
    async with asyncio.timeout(30):
        await asyncio.gather(*(_one_call(server, n) for n in range(500)))


async def _one_call(server: Server, n: int) -> None:
    async with linked(server, timeout=25) as link:
        assert await link.run("echo", n) == [b"%d" % n]


async def test_behind_its_context_a_link_refuses(server: Server) -> None:
    async with linked(server) as link, link.blocking() as reading:
        pass
    for call in (link.run("echo"), link.command("PING"), reading.command("PING")):
        with pytest.raises(Refused, match="closed"):
            await call


# -- cancelled calls -------------------------------------------------------------------------


async def test_a_cancelled_call_shifts_no_answers(server: Server) -> None:
    async with linked(server) as link:
        for step in range(40):
            task = asyncio.create_task(link.run("echo", "cancelled"))
            for _ in range(step % 8):
                await asyncio.sleep(0)
            task.cancel()
            answers = await asyncio.gather(*(link.run("echo", n) for n in range(6)))
            assert answers == [[b"%d" % n] for n in range(6)]
            await asyncio.gather(task, return_exceptions=True)


async def test_a_cancelled_read_leaves_its_connection_to_nobody(server: Server) -> None:
    async with linked(server) as link:
        async with link.blocking() as reading:
            mine = await reading.command("CLIENT", "ID")
            read = asyncio.create_task(reading.command("BLPOP", "{xqueue}:none", 20, deadline=25))
            await _blocked(link)
            read.cancel()
            with pytest.raises(asyncio.CancelledError):
                await read
            with pytest.raises(Unavailable):
                await reading.command("PING")
        async with link.blocking() as reading:
            assert await reading.command("CLIENT", "ID") != mine
            assert await reading.command("PING") == b"PONG"
            kept = await reading.command("CLIENT", "ID")
        async with link.blocking() as reading:
            assert await reading.command("CLIENT", "ID") == kept


async def _blocked(link: Link) -> None:
    async with asyncio.timeout(10):
        while b"blocked_clients:1" not in await link.command("INFO", "clients"):
            await asyncio.sleep(0.01)


async def test_closing_ends_reads_under_way(server: Server) -> None:
    async with linked(server) as link:
        async with link.blocking() as reading:
            read = asyncio.create_task(reading.command("BLPOP", "{xqueue}:none", 20, deadline=25))
            await _blocked(link)
            began = time.monotonic()
            await link.close()
            with pytest.raises(Unknown):
                await read
        assert time.monotonic() - began < LATE


# -- a server that is not there ----------------------------------------------------------------


async def test_nobody_listens() -> None:
    with services.redis() as gone:
        url = gone.url
    with pytest.raises(Unavailable, match="see that the server runs"):
        async with linked(url):
            pass


async def test_a_server_that_dies_between_two_calls(own: Server) -> None:
    async with linked(own) as link:
        assert await count(link) == 1
        before = link.run_id
        own.kill()
        with pytest.raises((Unavailable, Unknown)):
            await count(link)
        with pytest.raises(Unavailable):
            await count(link)
        own.start()
        assert await count(link) == 2
        assert link.run_id != before


async def test_a_server_that_stands_still_ends_no_later_than_the_deadline(own: Server) -> None:
    async with linked(own, timeout=TIMEOUT) as link:
        await count(link)
        async with link.blocking() as reading:
            await reading.command("PING")
            own.pause()
            began = time.monotonic()
            with pytest.raises(Unknown, match=r"no answer in 0\.1 s"):
                await reading.command("PING", deadline=0.1)
        with pytest.raises(Unknown, match=r"no answer in 0\.5 s"):
            await count(link)
        with pytest.raises(Unavailable):  # not even connected
            await count(link)
        assert time.monotonic() - began < LATE
        own.resume()
        assert await count(link) >= 2


async def test_a_server_that_stands_still_is_closed_in_time(own: Server) -> None:
    async with linked(own, timeout=TIMEOUT) as link:
        await count(link)
        own.pause()
        with pytest.raises(Unknown):
            await link.run("echo", bytes(20_000_000))  # more than its socket takes
        began = time.monotonic()
    assert time.monotonic() - began < LATE
    own.resume()


async def test_an_answer_that_is_lost_is_unknown(server: Server) -> None:
    async with (
        Proxy("127.0.0.1", server.port) as proxy,
        linked(f"redis://127.0.0.1:{proxy.address[1]}", namespace="lost") as link,
    ):
        assert await count(link) == 1
        async with proxy.drop_reply(b"FCALL"):
            with pytest.raises(Unknown):
                await count(link)
        assert await count(link) == 3  # once, and not again by itself
        async with proxy.cut():
            with pytest.raises((Unavailable, Unknown)):
                await count(link)
            with pytest.raises(Unavailable):
                await count(link)
        assert await count(link) == 4


# -- a server that says no -------------------------------------------------------------------


async def test_a_wrong_password() -> None:
    with services.redis(password="right") as server:
        plain = f"redis://127.0.0.1:{server.port}"
        for url, word in (
            (plain, "wants a password"),
            (server.url.replace("right", "wr"), "wrong"),
        ):
            with pytest.raises(ConfigError, match=word) as caught:
                async with linked(url):
                    pass
            assert "right" not in str(caught.value)
        async with linked(server) as link:
            assert await count(link) == 1


async def test_a_database_that_there_is_not(server: Server) -> None:
    with pytest.raises(ConfigError, match="Name a database that there is"):
        async with linked(f"redis://127.0.0.1:{server.port}/999"):
            pass


async def test_a_namespace_that_is_not_to_be_begun(server: Server) -> None:
    with pytest.raises(NoDatabase, match="holds no XQueue"):
        async with linked(server, namespace="nowhere", make=False):
            pass


async def test_a_namespace_of_a_newer_version(server: Server) -> None:
    async with linked(server, namespace="newer") as link:
        await link.command("HSET", "{newer}:meta", "layout", 2)
    with pytest.raises(ConfigError, match="newer XQueue"):
        async with linked(server, namespace="newer"):
            pass


async def test_a_primary_that_becomes_a_replica_is_left(own: Server) -> None:
    async with linked(own) as link:
        await count(link)
        one = await link.command("CLIENT", "ID")
        await link.command("REPLICAOF", "127.0.0.1", "1")
        with pytest.raises(Unavailable, match="asks for the primary anew"):
            await count(link)
        await link.command("REPLICAOF", "NO", "ONE")
        assert await link.command("CLIENT", "ID") != one
        assert await count(link) == 2


async def test_lost_data_is_told_once(own: Server, caplog: pytest.LogCaptureFixture) -> None:
    async with linked(own) as link:
        await count(link)
        await link.command("FLUSHALL")
        own.restart()
        caplog.set_level(logging.CRITICAL, "xqueue.redis")
        await asyncio.gather(count(link), return_exceptions=True)
        assert await count(link) >= 1
        assert await link.command("HEXISTS", "{xqueue}:meta", "generation") == 1
        own.restart()
        await asyncio.gather(count(link), count(link), return_exceptions=True)
        assert await count(link) >= 2
    assert len([one for one in caplog.records if "lost its data" in one.message]) == 1


async def test_data_that_somebody_deleted_is_told(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    async with linked(server, namespace="deleted") as link:
        await link.look()
        assert not caplog.records
        await link.command("DEL", "{deleted}:meta")
        await link.look()
        await link.look()
        assert [one.levelname for one in caplog.records] == ["CRITICAL"]
        assert "FLUSHALL" in caplog.text
        assert await link.command("HGET", "{deleted}:meta", "layout") == b"1"


async def test_a_forked_child_is_refused(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    async with linked(server) as link:
        with monkeypatch.context() as child:
            child.setattr(os, "getpid", lambda: -1)
            with pytest.raises(Refused, match="forked"):
                await count(link)
        assert await count(link) > 0


async def test_data_that_is_still_there_is_nothing_to_tell(
    own: Server, caplog: pytest.LogCaptureFixture
) -> None:
    async with linked(own) as link:
        await count(link)
        own.restart()
        await asyncio.gather(count(link), return_exceptions=True)
        assert await count(link) >= 2
    assert not caplog.records
