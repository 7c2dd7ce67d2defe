"""A semaphore in a real server, with a clock that stands still."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from redis.asyncio import Redis

import services
from support.permit_link import Links, PermitLink
from support.stores import FakeClock
from xqueue_redis.semaphore import RedisSemaphore


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def server() -> Iterator[services.Server]:
    with services.redis("redis7") as server:
        yield server


@pytest.fixture
async def redis(server: services.Server) -> AsyncIterator[Redis]:
    """Its own client, for looks at what it holds."""
    async with Redis(port=server.port) as redis:
        await redis.flushall()
        yield redis


@pytest.fixture
async def links(server: services.Server, redis: Redis) -> AsyncIterator[Links]:
    made: list[PermitLink] = []

    def make(clock: FakeClock | None) -> PermitLink:
        made.append(PermitLink(server.port, "test", clock))
        return made[-1]

    yield make
    for link in made:
        await link.close()


@pytest.fixture
def clock() -> FakeClock:
    """The server has one clock for both."""
    return FakeClock(1_000_000.0, 1_000_000.0)


@pytest.fixture
def link(links: Links, clock: FakeClock) -> PermitLink:
    """A link whose scripts see the clock."""
    return links(clock)


@pytest.fixture
def semaphore(link: PermitLink) -> RedisSemaphore:
    return link.semaphore
