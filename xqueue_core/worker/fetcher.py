"""Asks for work: as much as there is room for, where permits are in hand, and never more."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from xqueue_core.calls import Leased, Want
from xqueue_core.errors import BrokerError, BrokerGone, LeaseLost, Refused
from xqueue_core.handlers import Kind
from xqueue_core.worker.desk import SCARCE, Desk
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

#: A call brings half of all that there may be here, so that some run while the broker gets others:
#: else the two wait for each other in turn. Fewer than this would make each task dear.
FEW = 32


@dataclass(slots=True, frozen=True)
class Asked:
    """One call of ``lease``: for what, how long it may wait, and whether for all the room."""

    wants: list[Want]
    limit: int
    wait: float
    whole: bool = True

    @property
    def most(self) -> int:
        """How many tasks it can bring."""
        return min(self.limit, sum(want.limit for want in self.wants))


class Fetcher:
    """The only caller of ``lease``, one call at a time.

    Args:
        lanes: each lane served, and the kinds of its handlers.
        arrived: takes what a call brought.
        register: sends a heartbeat, for a worker the backend does not know.
        brake: True while nothing more may be fetched.
        spell: see :class:`~.tools.Term`: whether the worker may have been dead meanwhile.
    """

    def __init__(
        self,
        queue: TaskQueue,
        worker: str,
        lanes: Mapping[str, Collection[Kind]],
        desk: Desk,
        limiter: Limiter,
        options: WorkerOptions,
        tools: Tools,
        arrived: Callable[[Asked, Leased], None],
        register: Callable[[], Awaitable[None]],
        brake: Callable[[], bool],
        spell: Callable[[], int] = lambda: 0,
    ) -> None:
        self._queue = queue
        self._worker = worker
        # Threads and children are fewer than slots: what waits for one must not take those that
        # other handlers could use. Handlers that share a lane share its fate.
        self._lanes = {
            lane: [kind for kind in SCARCE if kind in kinds] for lane, kinds in lanes.items()
        }
        self._served = {kind: sum(kind in lane for lane in self._lanes.values()) for kind in SCARCE}
        self._desk = desk
        self._limiter = limiter
        self._wait = options.lease_wait
        # A few at a time: a call for each task that ends would cost more than the task.
        self._least_of = {
            Kind.THREAD: max(1, min(options.prefetch, options.threads // 4) // 2),
            Kind.PROCESS: 1,
        }
        self._tools = tools
        self._backoff = Backoff(tools)
        self._arrived = arrived
        self._register = register
        self._brake = brake
        self._spell = spell
        self._wake = asyncio.Event()
        self._call: asyncio.Task[Leased] | None = None
        self._asked: Asked | None = None
        self._number = 0
        self._unanswered = False
        self._closed = False
        self._held = False
        #: True while calls fail: what the last one took is not known.
        self.failing = False
        self._still = asyncio.Event()  # held, and no call is under way
        self.quiet = False
        self.paused: frozenset[str] = frozenset()  # lanes to leave out

    @property
    def _least(self) -> int:
        return max(1, self._desk.prefetch // 2)

    @property
    def _largest(self) -> int:
        """How many one call may bring."""
        return max(FEW, (self._desk.slots + self._desk.prefetch + 1) // 2)

    @property
    def answered(self) -> int:
        """The highest call number whose answer is here."""
        return self._number - 1 if self._unanswered else self._number

    def close(self) -> None:
        """Fetch nothing more; what an unanswered call took is still collected."""
        self._closed = True
        self.poke()

    async def hold(self) -> None:
        """Fetch nothing more until :meth:`resume`; returns when all that any call took is here."""
        self._held = True
        self._still.clear()
        self.poke()
        await self._still.wait()

    def resume(self) -> None:
        """Fetch again after :meth:`hold`."""
        self._held = False
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
                if self._held and not self._unanswered:
                    self._still.set()
                await self._wake.wait()
                self._wake.clear()
                continue
            begun = self._tools.clock()
            leased = await self._ask(asked)
            if leased is not None:
                self._arrived(asked, leased)
                full = len(leased.deliveries) >= asked.most > self._least
                if full and not self._ample(asked):
                    await self._linger(self._tools.clock() - begun)

    def _ample(self, asked: Asked) -> bool:
        """True if what room is left is worth a call at once; more permits would come later."""
        return asked.most == asked.limit and 2 * self._desk.room >= self._largest

    async def _linger(self, taken: float) -> None:
        """Give short tasks the time to end: the more a call brings, the cheaper each task is.

        Slots seldom run dry meanwhile, for the prefetch is here.
        """
        await self._tools.sleep(min(taken * LINGER, LONGEST))

    # -- what to ask for -----------------------------------------------------------------------

    @property
    def resting(self) -> bool:
        """True while nothing is to be fetched, for as long as it may last."""
        return self._closed or self._held or self.quiet

    def _next(self) -> Asked | None:
        # What a call took whose answer was never received must not lie here unknown: a rest, a
        # pause or a lack of room may last.
        nothing = Asked([], 0, 0.0) if self._unanswered else None
        if self.resting:
            return nothing
        if self._brake():
            return None
        if self._desk.room < self._least and not self._limiter.idle:
            return nothing
        wants = self._wants()
        if not wants:
            return nothing
        # With permits in hand the answer is wanted at once: idle permits keep others out.
        eager = any(want.limit and self._limiter.limited(want.lane) for want in wants)
        room, largest = self._desk.room, self._largest
        wait = 0.0 if eager else self._wait
        return Asked(wants, min(room, largest), wait, whole=room <= largest)

    def _wants(self) -> list[Want]:
        room = self._desk.room
        if not room:
            return []
        shares = {kind: self._share(kind) for kind, served in self._served.items() if served}
        wants = []
        for lane, scarce in self._lanes.items():
            allowed = self._limiter.allowance(lane)
            if allowed is None or lane in self.paused:
                continue  # it stands in line for a permit, or what came would go back
            limit = min(room, allowed)
            if scarce and limit:
                limit = min(limit, *(shares[kind] for kind in scarce))
                if not limit:
                    continue
            wants.append(Want(lane, limit))
        return wants

    def _share(self, kind: Kind) -> int:
        """How much each lane of a kind may be asked for."""
        room = self._desk.room_of(kind)
        return -(-room // self._served[kind]) if room >= self._least_of[kind] else 0

    def _outdated(self) -> bool:
        """True if the call under way should rather ask for something else."""
        if self._asked is None:
            return False
        if self.resting:
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
        spell = self._spell()
        self._call = asyncio.ensure_future(
            self._queue.lease(asked.wants, asked.limit, self._number, self._worker, asked.wait)
        )
        try:
            await asyncio.wait([self._call])
            leased = None if self._call.cancelled() else self._call.result()
        except asyncio.CancelledError:
            self._call.cancel()
            await asyncio.gather(self._call, return_exceptions=True)  # nothing of it runs on
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
        if leased is not None and leased.deliveries and self._spell() != spell:
            # Dead meanwhile, and alive again by a heartbeat that did not name what this brought:
            # others may have it by now. Asked again, the backend says what is still ours.
            logger.info("the lease lapsed while tasks were fetched: asking for them again")
            return None
        if leased is not None:
            self._unanswered = self.failing = False
            if self._backoff.reset():
                logger.info("the broker answers again")
        return leased

    async def _failed(self, error: Exception) -> None:
        if isinstance(error, BrokerGone):
            raise error
        self.failing = not isinstance(error, Refused)
        if isinstance(error, Refused):
            logger.error("the broker refused to hand out tasks: %s", error)
            self._unanswered = False
        elif not isinstance(error, BrokerError):
            logger.error("leasing failed in an unexpected way", exc_info=error)
        if await self._backoff.wait() == 1:
            logger.warning("no tasks can be fetched now: %s", error)
