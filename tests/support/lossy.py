"""The Redis backend behind a network that fails one call, and a client that then repeats it."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from services import Server
from support.redis_links import linked, made
from xqueue_core.abc import Faces
from xqueue_core.calls import Beat, Delivery, Put, Want
from xqueue_core.conformance.proxy import Proxy
from xqueue_core.errors import Unavailable, Unknown
from xqueue_core.task import Task
from xqueue_redis import RedisBackend
from xqueue_redis.scripts import Scripts, names

R = TypeVar("R")

#: Seconds of a call without an answer.
TIMEOUT = 1.0
_numbers = itertools.count()


class Lossy:
    """The faces of a new namespace, reached through a proxy.

    Attributes:
        faces: of the backend.
    """

    def __init__(self, proxy: Proxy, faces: Faces, script: str) -> None:
        self.faces = faces
        self._proxy = proxy
        self._function = Scripts().get(script).function.encode()

    @property
    def link(self) -> Any:
        """The connections behind the faces."""
        queue: Any = self.faces.queue
        return queue._link

    async def lost(self, call: Callable[[], Awaitable[R]]) -> R:
        """The server carries it out, and its answer does not arrive."""
        async with self._proxy.drop_reply(self._function) as drop:
            await _fails(call, Unknown)
            assert drop.happened
        return await call()

    async def cut(self, call: Callable[[], Awaitable[R]]) -> R:
        """No connection holds, and none is made."""
        async with self._proxy.cut():
            await _fails(call, Unknown, Unavailable)
            await _fails(call, Unavailable)
        return await call()

    async def hole(self, call: Callable[[], Awaitable[R]]) -> R:
        """What is sent gets nowhere, and nobody is told."""
        async with self._proxy.black_hole():
            await _fails(call, Unknown, Unavailable)
        return await call()

    async def slow(self, call: Callable[[], Awaitable[R]]) -> R:
        """It takes its time."""
        async with self._proxy.latency(0.01, 0.02), self._proxy.slow(50_000):
            return await call()


async def _fails(call: Callable[[], Awaitable[Any]], *errors: type[Exception]) -> None:
    try:
        await call()
    except errors:
        return
    raise AssertionError("the fault was not felt")


async def load(server: Server) -> None:
    """Load all scripts, so that an answer that gets lost is the script's own."""
    async with linked(server) as link:
        for name in names():
            await link.command("FUNCTION", "LOAD", "REPLACE", Scripts().get(name).library)


async def submitted(net: Lossy, *ids: str, **options: Any) -> None:
    """Put new tasks of the lane `l`."""
    answers = await net.faces.queue.put([Task(id=f"t:{id}", lane="l", **options) for id in ids])
    assert {one.put for one in answers} == {Put.NEW}


async def leased(net: Lossy, most: int = 10, call: int = 1) -> list[Delivery]:
    """Take what there is, as the worker `w`."""
    await net.faces.queue.extend(Beat(worker="w", answered=call - 1), [])
    answer = await net.faces.queue.lease([Want("l", most)], most, call, "w", 0)
    return list(answer.deliveries)


async def counts(net: Lossy) -> dict[str, int]:
    """The numbers of the ledger that are not 0."""
    total = (await net.faces.needed("view").stats()).total()
    assert total.conserved
    fields = (name for name in total.__struct_fields__)
    return {name: n for name in fields if (n := getattr(total, name))}


@asynccontextmanager
async def lossy(server: Server, script: str) -> AsyncIterator[Lossy]:
    """A new namespace on this server, where calls of one script can be made to fail."""
    backend = RedisBackend()
    async with Proxy("127.0.0.1", server.port) as proxy:
        url = f"redis://127.0.0.1:{proxy.address[1]}/0"
        settings = made(url, namespace=f"lossy{next(_numbers)}", timeout=TIMEOUT)
        async with backend.open(settings) as faces:
            yield Lossy(proxy, faces, script)
