"""A TCP proxy that stands between a client and a broker, and fails as networks do.

::

    async with Proxy("127.0.0.1", 6379) as proxy:
        client = await connect(*proxy.address)
        async with proxy.cut():
            ...  # nobody gets through, and nobody is connected
        async with proxy.drop_reply(b"EVALSHA") as drop:
            ...  # the broker carries the next such request out, and nobody learns it

Every fault begins and ends while connections are open, and concerns those and the ones to come.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from types import TracebackType
from typing import Self

from xqueue_core.conformance.link import Faults, Link
from xqueue_core.errors import ConfigError, Unavailable

#: Seconds for which the proxy waits until its port is free again after a cut.
REBIND = 5.0


class Drop:
    """A reply that is to get lost."""

    def __init__(self, containing: bytes, skip: int) -> None:
        self.containing = containing
        self.skip = skip
        self._done = asyncio.Event()

    @property
    def happened(self) -> bool:
        """True once the reply was lost and its connection cut."""
        return self._done.is_set()

    async def done(self) -> None:
        """Wait until it has happened."""
        await self._done.wait()

    def answered(self) -> bool:
        """A request that is meant was answered: True if this is the reply that gets lost."""
        if self.happened:
            return False
        if self.skip:
            self.skip -= 1
            return False
        self._done.set()
        return True


class Proxy:
    """Listens on a free port of the loopback interface and forwards to one address.

    To be used as an async context manager, on the event loop that enters it. A connection that
    the other side does not accept is closed. Whatever is open when the context ends is cut.

    Args:
        host: where the broker listens.
        port: its port, 1 to 65535.
        rng: draws the jitter.

    Raises:
        ConfigError: the port is out of range.
    """

    def __init__(self, host: str, port: int, *, rng: random.Random | None = None) -> None:
        if not 0 < port < 65_536:
            raise ConfigError(f"the port of {host!r} must be 1 to 65535, not {port}")
        self._target = host, port
        self._faults = Faults(rng or random.Random())
        self._port = 0
        self._server: asyncio.Server | None = None
        self._links: dict[Link, asyncio.Task[None]] = {}
        self._cuts = 0

    # -- opening and closing ---------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        await self._listen()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._deafen()
        self._port = 0

    @property
    def address(self) -> tuple[str, int]:
        """Host and port to connect to. Raises ConfigError while the proxy is not open."""
        if not self._port:
            raise ConfigError("the proxy is not open: use it as `async with Proxy(...) as proxy`")
        return "127.0.0.1", self._port

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._links)

    async def _listen(self) -> None:
        # The port that clients know may be in use for a moment by those who were cut.
        end = asyncio.get_running_loop().time() + REBIND
        while True:
            try:
                self._server = await asyncio.start_server(self._accept, "127.0.0.1", self._port)
                break
            except OSError as error:
                if asyncio.get_running_loop().time() >= end:
                    raise Unavailable(
                        f"the proxy cannot listen on port {self._port or '(any)'}: {error}"
                    ) from error
                await asyncio.sleep(0.02)
        self._port = self._server.sockets[0].getsockname()[1]

    async def _deafen(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.close()
        await self.kick()
        if server is not None:
            await server.wait_closed()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = Link(self._faults, self._target)
        task = asyncio.get_running_loop().create_task(link.run(reader, writer))
        self._links[link] = task

        def done(_: asyncio.Task[None]) -> None:
            del self._links[link]
            writer.transport.abort()  # a task that is cancelled before it began does not

        task.add_done_callback(done)
        if self._server is None:  # accepted in the moment of a cut
            task.cancel()

    async def kick(self) -> None:
        """Cut every connection that is open, once; new ones are accepted."""
        await self._kick(list(self._links))

    async def _kick(self, links: list[Link]) -> None:
        tasks = [self._links[link] for link in links if link in self._links]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # -- faults ----------------------------------------------------------------------------------

    def latency(self, seconds: float, jitter: float = 0.0) -> AbstractAsyncContextManager[None]:
        """Within the context each piece of data takes ``seconds`` longer, each way.

        Up to ``jitter`` seconds more are drawn for each; order is kept. Raises ConfigError for a
        negative number.
        """
        if seconds < 0 or jitter < 0:
            raise ConfigError(f"latency and jitter are 0 s or more, not {seconds} and {jitter}")
        return self._with(latency=seconds, jitter=jitter)

    def slow(self, rate: float) -> AbstractAsyncContextManager[None]:
        """Within the context no more than ``rate`` bytes a second pass, each way and connection.

        Raises ConfigError unless it is above 0.
        """
        if not rate > 0:
            raise ConfigError(f"the rate must be above 0 bytes a second, not {rate}")
        return self._with(rate=rate)

    @asynccontextmanager
    async def _with(self, **values: float) -> AsyncIterator[None]:
        before = {name: getattr(self._faults, name) for name in values}
        self._set(values)
        try:
            yield
        finally:
            self._set(before)

    def _set(self, values: dict[str, float]) -> None:
        for name, value in values.items():
            setattr(self._faults, name, value)

    @asynccontextmanager
    async def cut(self) -> AsyncIterator[None]:
        """Within the context every connection is cut, and new ones are refused.

        Raises Unavailable in the end if the port was taken by somebody else.
        """
        self._cuts += 1
        try:
            if self._cuts == 1:
                await self._deafen()
            yield
        finally:
            self._cuts -= 1
            if not self._cuts and self._port:
                await self._listen()

    @asynccontextmanager
    async def black_hole(self) -> AsyncIterator[None]:
        """Within the context everything sent is swallowed, both ways, and nobody is told.

        Connections stay open and new ones are accepted. Those of which something was swallowed
        are cut when the context ends: what would follow makes no sense to who reads it.
        """
        self._faults.holes += 1
        try:
            yield
        finally:
            self._faults.holes -= 1
            if not self._faults.holes:
                await self._kick([link for link in self._links if link.swallowed])

    @asynccontextmanager
    async def drop_reply(self, containing: bytes = b"", *, skip: int = 0) -> AsyncIterator[Drop]:
        """Lose one reply, if one comes within the context.

        The first request sent from now on that holds these bytes reaches the broker. The first
        data that comes back on its connection after that does not reach the client, and the
        connection is cut: whoever sent it cannot tell whether it was carried out. If the broker
        has an earlier request of that connection to answer still, the reply to that is lost: so
        let no other wait for its answer there.

        Args:
            containing: bytes of the requests that are meant; all of them by default.
            skip: how many such requests are answered before. Data sent together counts as one
                request, and as one reply. Raises ConfigError for a negative number.
        """
        if skip < 0:
            raise ConfigError(f"skip is 0 or more, not {skip}")
        drop = Drop(containing, skip)
        with self._armed(drop):
            yield drop

    @contextmanager
    def _armed(self, drop: Drop) -> Iterator[None]:
        self._faults.drops.append(drop)
        try:
            yield
        finally:
            with suppress(ValueError):
                self._faults.drops.remove(drop)
