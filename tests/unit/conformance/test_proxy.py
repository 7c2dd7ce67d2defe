"""The proxy of the kit, between real sockets, one fault at a time."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from xqueue_core.conformance.link import Faults, Link
from xqueue_core.conformance.proxy import Drop, Proxy
from xqueue_core.errors import ConfigError

pytestmark = pytest.mark.anyio

#: Seconds in which what ought to happen happens, and what ought not to does not.
SOON, MOMENT = 10.0, 0.15


@pytest.fixture(params=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": request.param == "uvloop"}


class Echo:
    """A server that says what it was told, in capitals, and remembers it."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.ends = 0
        self.port = 0

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[Echo]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65_536):
                self.heard.append(data)
                writer.write(data.upper())
                await writer.drain()
            self.ends += 1
            writer.write(b"END")
            await writer.drain()
        except OSError:
            self.ends += 1
        finally:
            writer.close()


class Client:
    """Talks to the proxy."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def say(self, data: bytes) -> None:
        self.writer.write(data)

    async def hears(self, count: int) -> bytes:
        async with asyncio.timeout(SOON):
            return await self.reader.readexactly(count)

    async def asks(self, data: bytes) -> bytes:
        self.say(data)
        return await self.hears(len(data))

    async def is_cut(self, most: int = 0) -> bool:
        """True if the connection ends, after so many bytes at most."""
        heard = b""
        try:
            async with asyncio.timeout(SOON):
                while data := await self.reader.read(most + 1):
                    heard += data
        except ConnectionError:
            pass
        return len(heard) <= most

    async def hears_nothing(self) -> bool:
        """True if for a moment neither a byte nor an end comes."""
        try:
            async with asyncio.timeout(MOMENT):
                await self.reader.read(1)
        except TimeoutError:
            return True
        return False


@asynccontextmanager
async def between(**options: random.Random) -> AsyncIterator[tuple[Echo, Proxy]]:
    """An echo server and a proxy in front of it; in the end nothing is left over."""
    before = asyncio.all_tasks()
    async with Echo().listening() as echo:
        async with Proxy("127.0.0.1", echo.port, **options) as proxy:
            yield echo, proxy
        assert proxy.connections == 0
        async with asyncio.timeout(SOON):
            while asyncio.all_tasks() - before:
                await asyncio.sleep(0.01)


@asynccontextmanager
async def client(proxy: Proxy) -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_connection(*proxy.address)
    try:
        yield Client(reader, writer)
    finally:
        writer.transport.abort()


async def test_it_forwards_both_ways_and_for_many() -> None:
    async with between() as (echo, proxy), client(proxy) as one, client(proxy) as other:
        assert await one.asks(b"one") == b"ONE"
        assert await other.asks(b"other") == b"OTHER"
        large = b"x" * 1_000_000
        assert await one.asks(large) == large.upper()
        assert proxy.connections == 2
        assert sum(map(len, echo.heard)) == 1_000_008


async def test_a_half_close_is_passed_on() -> None:
    async with between() as (echo, proxy), client(proxy) as one:
        one.say(b"last words")
        one.writer.write_eof()
        assert await one.hears(13) == b"LAST WORDSEND"
        assert await one.is_cut()
        assert (b"".join(echo.heard), echo.ends) == (b"last words", 1)


async def test_a_server_that_refuses_closes_the_connection() -> None:
    async with Echo().listening() as echo:
        port = echo.port
    async with Proxy("127.0.0.1", port) as proxy, client(proxy) as one:
        assert await one.is_cut()


async def test_a_client_that_is_gone_is_gone_for_the_server() -> None:
    async with between() as (echo, proxy):
        async with client(proxy) as one:
            assert await one.asks(b"a") == b"A"
        async with asyncio.timeout(SOON):
            while not echo.ends:
                await asyncio.sleep(0.01)


async def test_a_cut_closes_all_and_refuses_new_ones_until_it_ends() -> None:
    async with between() as (_, proxy), client(proxy) as one:
        assert await one.asks(b"a") == b"A"
        address = proxy.address
        async with proxy.cut():
            assert await one.is_cut()
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection(*address)
            async with proxy.cut():
                pass
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection(*address)
        assert proxy.address == address
        async with client(proxy) as again:
            assert await again.asks(b"b") == b"B"


async def test_a_connection_that_is_being_made_is_cut_as_well() -> None:
    async with between() as (_, proxy):
        for turns in range(20):
            async with client(proxy) as one:
                for _ in range(turns % 5):
                    await asyncio.sleep(0)
                async with proxy.cut():
                    assert await one.is_cut()
                    assert proxy.connections == 0


async def test_a_kick_cuts_what_is_open_alone() -> None:
    async with between() as (_, proxy), client(proxy) as one:
        assert await one.asks(b"a") == b"A"
        await proxy.kick()
        assert await one.is_cut()
        async with client(proxy) as again:
            assert await again.asks(b"b") == b"B"


async def test_a_black_hole_swallows_and_tells_nobody() -> None:
    async with between() as (echo, proxy), client(proxy) as one, client(proxy) as idle:
        assert await one.asks(b"a") == b"A"
        assert await idle.asks(b"i") == b"I"
        async with proxy.black_hole():
            one.say(b"swallowed")
            assert await one.hears_nothing()
            async with client(proxy) as new:
                new.say(b"swallowed as well")
                assert await new.hears_nothing()
        # What lost something makes no sense any more; the other one does.
        assert await one.is_cut()
        assert await idle.asks(b"j") == b"J"
        assert echo.heard == [b"a", b"i", b"j"]


async def test_latency_is_added_each_way_and_jitter_keeps_order() -> None:
    clock = asyncio.get_running_loop().time
    async with between(rng=random.Random(1)) as (_, proxy), client(proxy) as one:
        async with proxy.latency(0.1):
            before = clock()
            assert await one.asks(b"a") == b"A"
            assert clock() - before >= 0.2
        async with proxy.latency(0.0, jitter=0.05):
            sent = [b"%03d" % n for n in range(20)]
            for one_piece in sent:
                one.say(one_piece)
                await asyncio.sleep(0.001)
            assert await one.hears(60) == b"".join(sent)
        before = clock()
        assert await one.asks(b"b") == b"B"
        assert clock() - before < 0.1


async def test_latency_does_not_make_pieces_wait_for_each_other() -> None:
    clock = asyncio.get_running_loop().time
    async with between() as (_, proxy), client(proxy) as one, proxy.latency(0.2):
        before = clock()
        for _ in range(20):
            one.say(b"x")
            await asyncio.sleep(0.002)
        assert await one.hears(20) == b"X" * 20
        assert clock() - before < 2.0  # one after the other it would be more than 4 s


async def test_a_slow_connection_passes_so_many_bytes_a_second() -> None:
    clock = time.monotonic
    async with between() as (_, proxy), client(proxy) as one:
        async with proxy.slow(10_000):
            before = clock()
            assert await one.asks(b"x" * 3_000) == b"X" * 3_000
            assert clock() - before >= 0.3
        before = clock()
        assert await one.asks(b"x" * 3_000) == b"X" * 3_000
        assert clock() - before < 0.3


async def test_one_reply_gets_lost_and_its_connection_with_it() -> None:
    async with between() as (echo, proxy), client(proxy) as one, client(proxy) as other:
        assert await one.asks(b"a") == b"A"
        assert await other.asks(b"b") == b"B"
        async with proxy.drop_reply() as drop:
            assert not drop.happened
            one.say(b"c")
            assert await one.is_cut()
            await drop.done()
            assert await other.asks(b"d") == b"D"
        assert echo.heard == [b"a", b"b", b"c", b"d"]


async def test_the_reply_to_what_contains_these_bytes_gets_lost() -> None:
    async with between() as (echo, proxy), client(proxy) as one:
        async with proxy.drop_reply(b"needle") as drop:
            assert await one.asks(b"hay") == b"HAY"
            assert await one.asks(b"a nee") == b"A NEE"
            one.say(b"dle in two pieces")
            assert await one.is_cut()
            assert drop.happened
        assert echo.heard[-1] == b"dle in two pieces"


async def test_replies_before_it_can_be_let_through() -> None:
    async with between() as (echo, proxy), client(proxy) as one:
        async with proxy.drop_reply(b"x", skip=2) as drop:
            assert await one.asks(b"x1") == b"X1"
            assert await one.asks(b"y") == b"Y"
            assert await one.asks(b"x2") == b"X2"
            assert not drop.happened
            one.say(b"x3")
            assert await one.is_cut()
            await drop.done()
        assert echo.heard == [b"x1", b"y", b"x2", b"x3"]


async def test_a_reply_that_comes_before_its_request_has_gone_is_anothers() -> None:
    """Two requests are under way on one connection, and the second is meant."""
    faults, drop = Faults(random.Random(1)), Drop(b"second", 0)
    faults.drops.append(drop)
    link = Link(faults, ("127.0.0.1", 1))
    piece = link._request(b"second")  # the proxy has taken it, and holds it
    assert piece is not None
    assert link._reply(b"FIRST") is not None
    assert not drop.happened
    assert piece.goes is not None
    piece.goes()
    assert link._reply(b"SECOND") is None
    assert drop.happened


async def test_a_slow_request_reaches_the_server_to_its_last_byte() -> None:
    async with between() as (echo, proxy), client(proxy) as one:
        async with proxy.slow(2_000), proxy.drop_reply(b"end") as drop:
            one.say(b"x" * 200 + b"end")  # in pieces, each of which is answered
            assert len(await one.hears(100)) == 100
            assert await one.is_cut(100)
            assert drop.happened
        assert b"".join(echo.heard) == b"x" * 200 + b"end"


async def test_what_was_called_off_loses_nothing() -> None:
    async with between() as (_, proxy), client(proxy) as one:
        async with proxy.latency(MOMENT):
            async with proxy.drop_reply() as drop:
                one.say(b"a")
            assert await one.hears(1) == b"A"
        assert not drop.happened


async def test_wrong_use_is_told() -> None:
    with pytest.raises(ConfigError, match="must be 1 to 65535, not 0"):
        Proxy("127.0.0.1", 0)
    proxy = Proxy("127.0.0.1", 1)
    with pytest.raises(ConfigError, match="the proxy is not open"):
        _ = proxy.address
    with pytest.raises(ConfigError, match="above 0 bytes a second, not 0"):
        proxy.slow(0)
    with pytest.raises(ConfigError, match="0 s or more, not -1"):
        proxy.latency(-1)
    with pytest.raises(ConfigError, match="skip is 0 or more"):
        async with proxy.drop_reply(skip=-1):
            pass
