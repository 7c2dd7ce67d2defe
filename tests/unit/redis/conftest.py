"""A server for each file, and an installation whose clock the test moves."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

import services
from support.redis_clock import clocked
from unit.redis.test_repair import Installation


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
