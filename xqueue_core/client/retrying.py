"""Repeats calls that failed for a reason that passes, with full jitter, until a deadline."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from xqueue_core.errors import Unavailable, Unknown
from xqueue_core.handlers import RetryPolicy
from xqueue_core.patience import Patience

R = TypeVar("R")

#: How long a client goes on with one call (seconds).
DEADLINE = 30.0
#: How long it waits between two tries.
PAUSES = RetryPolicy(base=0.05, cap=2.0)


@dataclass(frozen=True, slots=True)
class Runtime:
    """What behaviour depends on besides the broker; tests bring their own."""

    clock: Callable[[], float] = time.monotonic  # seconds
    random: Callable[[], float] = random.random  # 0 to 1
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


@dataclass(frozen=True, slots=True)
class Retrying:
    """How calls are repeated.

    Attributes:
        runtime: clock, randomness and sleep.
        deadline: seconds after which no further try begins.
        grace: seconds for which the one that is under way then may go on before it is given up.
        policy: how long to wait between tries.
    """

    runtime: Runtime = Runtime()
    deadline: float = DEADLINE
    policy: RetryPolicy = PAUSES
    grace: float = 0.0

    @property
    def longest(self) -> float:
        """Seconds after which the last try has ended."""
        return self.deadline + self.grace

    async def once(
        self, call: Callable[[], Awaitable[R]], until: float, patience: Patience | None = None
    ) -> R:
        """One try, given up ``grace`` after ``until`` (by the clock): then this raises Unknown.

        Who has many of them gives its ``patience``.
        """
        left = max(until - self.runtime.clock() + self.grace, 0.0)
        try:
            if patience is not None:
                with patience.within(left):
                    return await call()
            async with asyncio.timeout(left):
                return await call()
        except TimeoutError as error:
            raise Unknown("the broker did not answer before the deadline") from error

    async def pause(self, attempt: int, until: float) -> bool:
        """Wait after a failed ``attempt`` (1 for the first). False if there is no time left."""
        left = until - self.runtime.clock()
        if left <= 0:
            return False
        await self.runtime.sleep(min(left, self.policy.delay(attempt, self.runtime.random)))
        return self.runtime.clock() < until

    async def __call__(
        self,
        call: Callable[[], Awaitable[R]],
        *,
        deadline: float | None = None,
        changes: bool = False,
    ) -> R:
        """Repeat ``call`` while it raises Unavailable or Unknown.

        It must be safe to repeat. At the deadline the last error is raised: ``Unknown`` if any
        of the tries may have happened, else ``Unavailable``.

        Args:
            call: one try.
            deadline: seconds instead of the usual ones.
            changes: it changes something, so that another error tells nothing of it either once
                a try may have happened: that is ``Unknown`` too.
        """
        until = self.runtime.clock() + (self.deadline if deadline is None else deadline)
        attempt, worst = 0, None
        while True:
            attempt += 1
            try:
                return await self.once(call, until)
            except (Unavailable, Unknown) as error:
                if not isinstance(worst, Unknown) or isinstance(error, Unknown):
                    worst = error
            except Exception as error:
                if not changes or not isinstance(worst, Unknown):
                    raise
                raise Unknown(f"an earlier try may have been carried out; then: {error}") from error
            if not await self.pause(attempt, until):
                raise worst
