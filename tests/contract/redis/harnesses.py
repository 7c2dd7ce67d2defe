"""How the kit opens the Redis backend, on each server that it is promised for."""

from __future__ import annotations

import asyncio
import atexit
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager
from typing import Any

import services
from xqueue_core.abc import Faces
from xqueue_core.conformance import BackendHarness, Harness
from xqueue_redis import RedisBackend
from xqueue_redis.connection import Blocking
from xqueue_redis.settings import RedisSettings

KINDS = ("redis7", "redis8", "valkey")


class RedisHarness(BackendHarness):
    """Redis, or what calls itself so, with everything that a real server allows.

    Args:
        url: of the server.
        server: its process, if it is ours.
    """

    def __init__(self, name: str, url: str, server: services.Server | None = None) -> None:
        self._server = server
        self._url = url
        self._muted: set[str] = set()
        self._lock = threading.Lock()
        host, port = _place(url)
        super().__init__(
            RedisBackend(),
            self._made,
            name=name,
            server=(host, port),
            child=(f"{__name__}:joined", name, url),
        )

    def _made(self, namespace: str, changes: Mapping[str, Any]) -> RedisSettings:
        changed = dict(changes)
        host, port = _place(self._url)
        hosts = (f"{changed.pop('host', host)}:{changed.pop('port', port)}",)
        given = {"namespace": namespace, "hosts": hosts, "timeout": 3.0, **changed}
        return RedisSettings.model_validate(given)

    @asynccontextmanager
    async def open(self, namespace: str, settings: Mapping[str, Any]) -> AsyncIterator[Faces]:
        """Open it."""
        async with super().open(namespace, settings) as faces:
            yield faces

    async def corrupt(self, namespace: str, id: str) -> None:
        """Write bytes that are no MessagePack where the task's row was."""
        async with self.open(namespace, {}) as faces:
            queue: Any = faces.queue
            await queue._link.command("HSET", f"{{{namespace}}}:t:{id}", "s", b"\xc1\xc1")

    async def mute(self, namespace: str) -> None:
        """Whatever blocks in this process is told nothing any more."""
        _muted.add(f"{{{namespace}}}:")

    async def restart(self) -> None:
        """SIGKILL, and a new process with the same append-only file."""
        assert self._server is not None
        await asyncio.to_thread(self._server.restart)

    @asynccontextmanager
    async def fill(self) -> AsyncIterator[None]:
        """No memory for anything new."""
        async with self.open("filler", {}) as faces:
            queue: Any = faces.queue
            command = queue._link.command
            await command("CONFIG", "SET", "maxmemory", "1")
            try:
                yield
            finally:
                await command("CONFIG", "SET", "maxmemory", "0")

    async def flush(self) -> None:
        """The scripts are forgotten."""
        async with self.open("filler", {}) as faces:
            queue: Any = faces.queue
            await queue._link.command("FUNCTION", "FLUSH")
            await queue._link.command("SCRIPT", "FLUSH")


_muted: set[str] = set()
_command = Blocking.command


async def _heard(self: Blocking, *arguments: Any, deadline: float | None = None) -> Any:
    """Blocking reads of a muted namespace end when their time is over."""
    if self._link.prefix in _muted and arguments[0] == "BLPOP":
        await asyncio.sleep(float(arguments[-1]))
        return None
    if self._link.prefix in _muted and arguments[0] == "XREAD" and "BLOCK" in arguments:
        await asyncio.sleep(int(arguments[arguments.index("BLOCK") + 1]) / 1000)
        rest = [one for n, one in enumerate(arguments)
                if one != "BLOCK" and arguments[n - 1] != "BLOCK"]  # fmt: skip
        return await _command(self, *rest, deadline=deadline)
    return await _command(self, *arguments, deadline=deadline)


Blocking.command = _heard  # type: ignore[method-assign]


def joined(name: str, url: str) -> Harness:
    """The same server, for another process."""
    return RedisHarness(name, url)


def _place(url: str) -> tuple[str, int]:
    host, _, port = url.partition("://")[2].partition("/")[0].rpartition(":")
    return host, int(port)


def harness(kind: str) -> RedisHarness:
    """A server of this kind, which ends with this process."""
    stack = ExitStack()
    server = stack.enter_context(services.redis(kind, aof=True, appendfsync="always"))
    atexit.register(stack.close)
    return RedisHarness(kind, server.url, server)


def redis_harnesses() -> Iterator[Harness]:
    """All kinds of servers."""
    for kind in KINDS:
        yield harness(kind)
