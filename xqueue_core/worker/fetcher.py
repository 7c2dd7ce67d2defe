"""Asks for work: as much as there is room for, where permits are in hand, and never more."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from xqueue_core.calls import Leased, Want
from xqueue_core.errors import BrokerError, LeaseLost, Refused
from xqueue_core.worker.desk import Desk
from xqueue_core.worker.options import WorkerOptions
from xqueue_core.worker.tools import Backoff, Tools

if TYPE_CHECKING:
    from xqueue_core.abc import TaskQueue
    from xqueue_core.worker.limiter import Limiter

logger = logging.getLogger("xqueue.worker")

#: How long to wait after a call that brought all that was asked for: this part of its duration,
#: and at most so many seconds.
LINGER = 0.1
LONGEST = 0.005


@dataclass(slots=True, frozen=True)
class Asked:
    """One call of ``lease``: for what, and how long it may wait."""

    wants: list[Want]
    limit: int
    wait: float


class Fetcher:
    """The only caller of ``lease``, one call at a time.

    Args:
        lanes: each lane served, and whether its handlers are all plain functions.
        arrived: takes what a call brought.
        register: sends a heartbeat, for a worker the backend does not know.
        brake: True while nothing more may be fetched.
    """

    def __init__(
        self,
        queue: TaskQueue,
        worker: str,
        lanes: Mapping[str, bool],
        desk: Desk,
        limiter: Limiter,
        options: WorkerOptions,
        tools: Tools,
        arrived: Callable[[Asked, Leased], None],
        register: Callable[[], Awaitable[None]],
        brake: Callable[[], bool],
    ) -> None:
        self._queue = queue
        self._worker = worker
        self._lanes = lanes
        self._desk = desk
        self._limiter = limiter
        self._wait = options.lease_wait
        # A few at a time: a call for each task that ends would cost more than the task.
        self._least = max(1, options.prefetch // 2)
        self._least_plain = max(1, min(options.prefetch, options.threads // 4) // 2)
        self._tools = tools
        self._backoff = Backoff(tools)
        self._arrived = arrived
        self._register = register
        self._brake = brake
        self._wake = asyncio.Event()
        self._call: asyncio.Task[Leased] | None = None
        self._asked: Asked | None = None
        self._number = 0
        self._unanswered = False
        self._closed = False
        self.quiet = False
        self.paused: frozenset[str] = frozenset()  # lanes to leave out

    @property
    def answered(self) -> int:
        """The highest call number whose answer is here."""
        return self._number - 1 if self._unanswered else self._number

    def close(self) -> None:
        """Fetch nothing more; what an unanswered call took is still collected."""
        self._closed = True
        self.poke()

    def poke(self) -> None:
        """Slots, permits, pauses or orders changed: look again, also while a call waits."""
        self._wake.set()
        if self._call is not None and not self._call.done() and self._outdated():
            self._call.cancel()

    async def run(self) -> None:
        """Fetch until closed."""
        while True:
            asked = self._next()
            if asked is None:
                if self._closed:
                    return
                await self._wake.wait()
                self._wake.clear()
                continue
            begun = self._tools.clock()
            leased = await self._ask(asked)
            if leased is not None:
                self._arrived(asked, leased)
                if len(leased.deliveries) >= asked.limit > self._least:
                    await self._linger(self._tools.clock() - begun)

    async def _linger(self, taken: float) -> None:
        """Give short tasks the time to end: the more a call brings, the cheaper each task is.

        Slots seldom run dry meanwhile, for the prefetch is here.
        """
        await self._tools.sleep(min(taken * LINGER, LONGEST))

    # -- what to ask for -----------------------------------------------------------------------

    def _next(self) -> Asked | None:
        if self._closed or self.quiet:
            # An answer that was never received must still be fetched, or it would be stranded.
            return Asked([], 0, 0.0) if self._unanswered else None
        if self._brake() or (self._desk.room < self._least and not self._limiter.idle):
            return None
        wants = self._wants()
        if not wants:
            # As above: what that call took must not lie here unknown, for a pause may last.
            return Asked([], 0, 0.0) if self._unanswered else None
        # With permits in hand the answer is wanted at once: idle permits keep others out.
        eager = any(want.limit and self._limiter.limited(want.lane) for want in wants)
        return Asked(wants, self._desk.room, 0.0 if eager else self._wait)

    def _wants(self) -> list[Want]:
        room, plain = self._desk.room, self._desk.thread_room
        if not room:
            return []
        served = max(1, sum(self._lanes.values()))
        share = -(-plain // served) if plain >= self._least_plain else 0
        wants = []
        for lane, threaded in self._lanes.items():
            allowed = self._limiter.allowance(lane)
            if allowed is None or lane in self.paused:
                continue  # it stands in line for a permit, or what came would go back
            limit = min(room, allowed)
            if threaded and limit:
                limit = min(limit, share)
                if not limit:
                    continue
            wants.append(Want(lane, limit))
        return wants

    def _outdated(self) -> bool:
        """True if the call under way should rather ask for something else."""
        if self._asked is None:
            return False
        if self._closed or self.quiet:
            return bool(self._asked.wants)
        now = {want.lane: want.limit > 0 for want in self._wants()}
        return now != {want.lane: want.limit > 0 for want in self._asked.wants}

    # -- asking --------------------------------------------------------------------------------

    async def _ask(self, asked: Asked) -> Leased | None:
        """One call. None if it was cancelled or failed: its number is then repeated."""
        if not self._unanswered:
            self._number += 1
            self._unanswered = True
        self._asked = asked
        self._wake.clear()
        self._call = asyncio.ensure_future(
            self._queue.lease(asked.wants, asked.limit, self._number, self._worker, asked.wait)
        )
        try:
            await asyncio.wait([self._call])
            leased = None if self._call.cancelled() else self._call.result()
        except asyncio.CancelledError:
            self._call.cancel()
            raise
        except LeaseLost as error:
            logger.warning("this worker was declared dead: %s", error)
            await self._register()
            await self._backoff.wait()
            return None
        except Exception as error:  # noqa: BLE001 - told apart below
            await self._failed(error)
            return None
        finally:
            self._call = None
            self._asked = None
        if leased is not None:
            self._unanswered = False
            if self._backoff.reset():
                logger.info("the broker answers again")
        return leased

    async def _failed(self, error: Exception) -> None:
        if isinstance(error, Refused):
            logger.error("the broker refused to hand out tasks: %s", error)
            self._unanswered = False
        elif not isinstance(error, BrokerError):
            logger.error("leasing failed in an unexpected way", exc_info=error)
        if await self._backoff.wait() == 1:
            logger.warning("no tasks can be fetched now: %s", error)
