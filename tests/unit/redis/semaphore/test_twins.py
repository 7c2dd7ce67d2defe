"""Whatever is done, the semaphore in Redis answers as the stored one does, token by token."""

from __future__ import annotations

import pytest
from redis.asyncio import Redis

import services
from support.permit_twins import Player, Twins

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("seed", range(10))
async def test_both_answer_alike(redis: Redis, server: services.Server, seed: int) -> None:
    twins = Twins(redis, server.port)
    player = Player(twins, seed)
    for _ in range(200):
        await player.step()
    await twins.look()
    assert len(twins.tokens) > 10
    await twins.link.close()
