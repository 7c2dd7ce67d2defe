"""Waits until there may be work: a blocking read on a connection of its own, which only wakes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xqueue_redis.connection import Link

#: Shortest wait that is worth a call (seconds); 0 would block for ever.
SHORTEST = 0.001


class Waker:
    """Takes tokens from the wake lists of lanes. Each token wakes one worker."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def wait(self, lanes: Sequence[str], seconds: float) -> bool:
        """Until somebody adds tasks to one of these lanes (true), at most ``seconds`` (false).

        Raises BrokerError. A token that was taken while this was cancelled is lost, which delays
        whoever would have been woken until it looks by itself.
        """
        keys = [f"{self._link.prefix}wake:{lane}" for lane in dict.fromkeys(lanes)]
        async with self._link.blocking() as connection:
            token = await connection.command("BLPOP", *keys, f"{max(SHORTEST, seconds):.3f}")
        return token is not None
