"""A server, a link to it with a clock that stands still, and the faces that only look."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from redis.asyncio import Redis

import services
from support.looking_at_redis import BEGAN, Tasks, WatchedLink
from xqueue_core.stored.options import StoredOptions
from xqueue_redis.notifier import RedisNotifier
from xqueue_redis.view import RedisView


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def server() -> Iterator[services.Server]:
    with services.redis("redis7") as server:
        yield server


@pytest.fixture
async def link(server: services.Server) -> AsyncIterator[WatchedLink]:
    async with Redis(port=server.port) as client:
        await client.flushall()
        link = WatchedLink(server, client)
        await link.now(BEGAN)
        await link.command("PING")  # the first connect begins the namespace
        yield link
        await link.close()


@pytest.fixture
def tasks(link: WatchedLink) -> Tasks:
    return Tasks(link)


@pytest.fixture
def view(link: WatchedLink) -> RedisView:
    return RedisView(link, StoredOptions())


@pytest.fixture
def notifier(link: WatchedLink) -> RedisNotifier:
    return RedisNotifier(link, StoredOptions())
