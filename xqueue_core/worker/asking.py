"""Asks for permits of lanes: how many, for which lanes, and what becomes of the answers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence

from xqueue_core.errors import BrokerError, Unavailable, Unknown
from xqueue_core.handlers import Kind
from xqueue_core.permits import Answer, Grant, Keep, Request
from xqueue_core.worker.desk import Desk
from xqueue_core.worker.grip import Grip
from xqueue_core.worker.lane import FIRST, Lane
from xqueue_core.worker.options import WorkerOptions
from xqueue_core.worker.permits import PermitDesk
from xqueue_core.worker.tools import Backoff, Tools

logger = logging.getLogger("xqueue.worker")

#: Seconds for which a lane is left out after its request alone was refused: doubling, at most.
BARRED, LONGEST = 1.0, 30.0

Asked = list[tuple[Lane, Request]]


class Asking:
    """One call of ``acquire`` at a time, for all lanes in which permits are of use.

    Args:
        shut: True while nothing can be fetched here, so that permits are of no use.
        granted: takes each permit.
        poke: called when there are answers.
    """

    def __init__(
        self,
        permits: PermitDesk,
        lanes: Mapping[str, Lane],
        desk: Desk,
        shut: Callable[[], bool],
        options: WorkerOptions,
        tools: Tools,
        granted: Callable[[Lane, Grip], None],
        poke: Callable[[], None],
    ) -> None:
        self._permits = permits
        self._lanes = lanes
        self._shut = shut
        self._desk = desk
        self._wait = options.lease_wait
        self._lease = options.lease
        self._clock = tools.clock
        self._granted = granted
        self._poke = poke
        self._backoff = Backoff(tools)
        self._wake = asyncio.Event()
        self._call: asyncio.Task[Sequence[Answer]] | None = None
        self._asked: frozenset[str] = frozenset()

    async def run(self) -> None:
        """Ask until cancelled."""
        while True:
            asked = self._demand()
            if not asked:
                await self._wake.wait()
                self._wake.clear()
                continue
            try:
                await self._ask(asked, self._wait)
            except (Unavailable, Unknown) as error:
                if error.answered:
                    await self._apart()
                elif await self._backoff.wait() == 1:
                    logger.warning("no permits can be had now: %s", error)
            except Exception:  # noqa: BLE001 - told again of the lane whose fault it is
                await self._apart()

    def look(self) -> None:
        """Demand may have changed: a call that waits is asked anew if others are wanted now."""
        call = self._call
        if call is None and not any(lane.version for lane in self._lanes.values()):
            return  # there is no limit: this is called for each task that ends
        self._wake.set()
        if call is None or call.done():
            return
        now = frozenset(request.id for _, request in self._demand())
        if now != self._asked:
            call.cancel()

    def close(self) -> None:
        """The worker drains: what is asked for is not wanted any more."""
        if self._call is not None:
            self._call.cancel()

    def request(self, lane: Lane, *, queue: bool, running: bool = False) -> Request:
        """A new request for a permit of the lane."""
        return Request(
            id=self._permits.new_id(),
            key=lane.key,
            worker=self._permits.worker,
            lease=self._lease,
            queue=queue,
            running=running,
        )

    # -- what to ask for -----------------------------------------------------------------------

    def _demand(self) -> Asked:
        """What to ask for now: unanswered requests again, and new ones where there is room."""
        if self._permits.hushed() or self._permits.blind():
            return []
        now, shut = self._clock(), self._shut()
        for lane in self._lanes.values():
            if lane.asked and (shut or not lane.seeking):
                lane.withdraw(self._permits)
        if shut:
            return []
        seeking = [one for one in self._lanes.values() if one.seeking and one.barred <= now]
        for lane in seeking:
            wanted = self._wanted(lane, seeking)
            if wanted and not lane.asked:
                lane.asked.append(self.request(lane, queue=True))
                if not lane.saturated:
                    more = min(wanted, lane.declared or lane.step) - 1
                    lane.asked += [self.request(lane, queue=False) for _ in range(more)]
            elif not wanted and lane.asked:
                lane.withdraw(self._permits)
        return [(lane, request) for lane in seeking for request in lane.asked]

    def _wanted(self, lane: Lane, seeking: Sequence[Lane]) -> int:
        free = min(self._free(kind, seeking) for kind in (None, *lane.scarce))
        if free > 0:
            lane.spurned = False
            fair = max(1, free // len(seeking))
            return fair if lane.work else min(fair, len(lane.waiting))
        # All slots are taken. A lane below its share gets its turn all the same, or lanes
        # without a limit, whose tasks are fetched ahead, would keep it out for ever. But where
        # that was of no use, and others were in need of it, something must have ended since.
        return 1 if not lane.spare and not lane.spurned and self._below(lane) else 0

    def _free(self, kind: Kind | None, seeking: Sequence[Lane]) -> int:
        """Slots, or what there is for a kind, that nothing here is about to take."""
        waiting = [job for lane in self._lanes.values() for job in lane.waiting]
        idle = sum(lane.spare for lane in seeking if lane.needs(kind))
        return self._desk.startable(kind, waiting) - idle

    def _below(self, lane: Lane) -> bool:
        """True if the lane has less than its share of what can run at once."""
        has = lane.used + lane.spare
        return all(
            has * sum(one.needs(kind) for one in self._lanes.values()) < self._desk.capacity(kind)
            for kind in (None, *lane.scarce)
        )

    # -- asking --------------------------------------------------------------------------------

    async def _ask(self, asked: Asked, wait: float) -> None:
        """One call. Raises what it raises; was it cancelled by :meth:`look`, nothing follows."""
        requests = [request for _, request in asked]
        self._asked = frozenset(request.id for request in requests)
        self._call = call = asyncio.ensure_future(self._permits.acquire(requests, wait))
        self._wake.clear()
        try:
            await asyncio.wait([call])
            if call.cancelled():
                self._withdraw_unwanted(asked)
                return  # asked again, with what is wanted now
            answers = call.result()
        except asyncio.CancelledError:
            # The worker ends; what the call may have granted must not outlive it.
            call.cancel()
            await asyncio.wait([call])
            for lane, request in asked:
                if request in lane.asked:
                    lane.asked.remove(request)
                self._permits.withdraw(request)
            raise
        except Exception:
            self._withdraw_unwanted(asked)
            raise
        finally:
            self._call = None
            self._asked = frozenset()
        self._backoff.reset()
        self._answered(asked, answers)

    async def _apart(self) -> None:
        """To repeat the call will not help: find the lane whose fault it is; the others go on."""
        for lane in {lane.name: lane for lane, _ in self._demand()}.values():
            asked = [(one, request) for one, request in self._demand() if one is lane]
            if not asked:
                continue
            try:
                await self._ask(asked, 0.0)
            except Exception as error:  # noqa: BLE001 - whatever a driver raises
                if isinstance(error, Unavailable | Unknown) and not error.answered:
                    await self._backoff.wait()
                else:
                    self._bar(lane, error)
            else:
                lane.refusals = 0

    def _bar(self, lane: Lane, error: Exception) -> None:
        known = isinstance(error, BrokerError)
        if not lane.refusals:
            logger.error("lane %r gets no permits: %s", lane.name, error, exc_info=not known)
        lane.barred = self._clock() + min(LONGEST, BARRED * 2.0 ** min(lane.refusals, 10))
        lane.refusals += 1

    def _answered(self, asked: Asked, answers: Sequence[Answer]) -> None:
        denied: set[str] = set()
        granted: set[str] = set()
        for (lane, request), answer in zip(asked, answers, strict=True):
            if answer.grant is Grant.DENIED or answer.keep is Keep.YIELD:
                denied.add(lane.name)
                lane.step = FIRST
            elif answer.grant is Grant.GRANTED:
                granted.add(lane.name)
            self._take(lane, request, answer)
        for name in granted - denied:
            self._lanes[name].step = min(64, 2 * self._lanes[name].step)
        for lane, _ in asked:
            lane.saturated = lane.name in denied or (lane.saturated and lane.name not in granted)
        self._poke()

    def _take(self, lane: Lane, request: Request, answer: Answer) -> None:
        wanted = request in lane.asked
        if answer.grant is Grant.WAITING:
            if not wanted:  # withdrawn meanwhile
                self._permits.withdraw(request)
            return
        if wanted:
            lane.asked.remove(request)
        if answer.grant is Grant.FREE:
            # The limit was removed, or all was lost: the next renewal tells which.
            lane.closed = True
        elif answer.grant is Grant.GRANTED:
            grip = self._permits.granted(request, answer.token, lane.name)
            if not (wanted and lane.open) or self._permits.blind() or answer.keep is Keep.YIELD:
                self._permits.release(grip)
            elif answer.version in (0, lane.version):
                self._granted(lane, grip)
            else:
                # The limit was changed, or all was lost, and what runs here may not be counted.
                lane.aside.append(grip)

    def _withdraw_unwanted(self, asked: Asked) -> None:
        """A call ended without an answer: it may have taken effect after a withdrawal."""
        for lane, request in asked:
            if request not in lane.asked:
                self._permits.withdraw(request)
