"""Permits of lanes: taken before tasks are leased, kept for the next task, given back in time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from xqueue_core.errors import BrokerError
from xqueue_core.permits import Grant, Request
from xqueue_core.worker.desk import Desk
from xqueue_core.worker.grip import Grip
from xqueue_core.worker.job import Job
from xqueue_core.worker.lane import FIRST, UNLIMITED, Lane
from xqueue_core.worker.options import WorkerOptions
from xqueue_core.worker.permits import PermitDesk
from xqueue_core.worker.tools import Backoff, Tools

if TYPE_CHECKING:
    from xqueue_core.abc import Semaphore

logger = logging.getLogger("xqueue.worker")


class Limiter:
    """What limits let this worker lease, lane by lane."""

    def __init__(
        self,
        semaphore: Semaphore | None,
        permits: PermitDesk,
        desk: Desk,
        lanes: Mapping[str, int | None],
        options: WorkerOptions,
        tools: Tools,
        poke: Callable[[], None],
    ) -> None:
        self._semaphore = semaphore
        self._permits = permits
        self._desk = desk
        self._lanes = {name: Lane(name, declared) for name, declared in lanes.items()}
        self._options = options
        self._tools = tools
        self._poke = poke
        self._backoff = Backoff(tools)
        self._wake = asyncio.Event()
        self._call: asyncio.Task[object] | None = None
        self._asking: frozenset[str] = frozenset()

    @property
    def keys(self) -> list[str]:
        """The semaphore keys of all lanes served."""
        return [lane.key for lane in self._lanes.values()]

    @property
    def idle(self) -> bool:
        """True if permits are in hand that no task uses."""
        return any(lane.idle for lane in self._lanes.values())

    async def declare(self) -> None:
        """Say each lane's limit, none included; the last worker to start wins."""
        if self._semaphore is None:
            return
        for lane in self._lanes.values():
            await self._semaphore.set_limit(lane.key, lane.declared, pinned=False)

    # -- for the fetcher -----------------------------------------------------------------------

    def limited(self, lane: str) -> bool:
        """True if tasks of the lane need a permit."""
        found = self._lanes.get(lane)
        return found is not None and found.version > 0

    def allowance(self, name: str) -> int | None:
        """How many tasks of the lane may be leased; 0 = ask to be woken, None = leave it out."""
        lane = self._lanes[name]
        if not lane.version:
            return UNLIMITED
        if lane.closed or not self._permits.fresh():
            return None  # what is in hand may have expired
        if lane.idle:
            return len(lane.idle)
        return None if lane.asked else 0

    def take(self, job: Job) -> bool:
        """Put a permit in the hands of a job that has come. False if there is none."""
        lane = self._lanes[job.lane]
        if not lane.idle:
            return False
        grip = lane.idle.pop()
        grip.job, job.permit = job, grip
        lane.used += 1
        return True

    def ready(self, names: list[str]) -> None:
        """These lanes have work."""
        for name in names:
            lane = self._lanes.get(name)
            if lane is not None:
                lane.work = True
        self._look()

    def leased(self, name: str, wanted: int, got: int, full: bool) -> None:
        """A call that did not wait asked for ``wanted`` of the lane and brought ``got``.

        ``full``: the call brought as much as it could in all, so that nothing follows from it.
        """
        lane = self._lanes[name]
        if not lane.version or not wanted or full:
            return
        if got < wanted:
            lane.work = False
            self._give_back(lane, len(lane.idle))
        else:
            lane.work = True
        self._look()

    def trim(self) -> None:
        """Give back idle permits beyond the free slots: they would only keep others out."""
        room = max(1, self._desk.free)
        for lane in self._lanes.values():
            if len(lane.idle) > room:
                self._give_back(lane, len(lane.idle) - room)
                self._look()
            room = max(0, room - len(lane.idle))

    def freed(self, job: Job) -> None:
        """The job has ended: its permit serves the next of its lane, or goes back."""
        grip, job.permit = job.permit, None
        if grip is None:
            return
        grip.job = None
        lane = self._lanes[grip.lane]
        lane.used -= 1
        if grip.lost:
            return
        if grip.yielding or not lane.version or not lane.work:
            self._permits.release(grip)
        else:
            lane.idle.append(grip)
        self._look()

    # -- what the renewals tell ------------------------------------------------------------------

    def seen(self, versions: Mapping[str, int]) -> list[str]:
        """Versions of the limits; answers the lanes that have become limited.

        Those are closed until :meth:`open`, for what runs in them must be counted first.
        """
        fresh = []
        for lane in self._lanes.values():
            # Where nothing can be told, what was true last is.
            version = versions.get(lane.key, lane.version)
            if version == lane.version:
                continue
            before, lane.version = lane.version, version
            lane.saturated = False
            if not before:
                lane.work = lane.closed = True
                fresh.append(lane.name)
            elif not version:
                lane.closed = False
                self._withdraw(lane)
                self._give_back(lane, len(lane.idle))
        if fresh:
            self._poke()
        self._look()
        return fresh

    def open(self) -> None:
        """All that ran in limited lanes is counted."""
        for lane in self._lanes.values():
            lane.closed = False
        self._look()

    def register(self, job: Job) -> Request:
        """A request for a job that was here before its lane had a limit."""
        return self._request(self._lanes[job.lane], queue=False, running=True)

    def registered(self, job: Job, grip: Grip) -> None:
        """That request was granted, above the limit if need be: it serves no other task."""
        grip.yielding = True
        grip.job, job.permit = job, grip
        self._lanes[job.lane].used += 1

    def dropped(self, grip: Grip) -> None:
        """An idle permit was lost, or must be given up."""
        idle = self._lanes[grip.lane].idle
        if grip in idle:
            idle.remove(grip)
        self._look()

    # -- asking ----------------------------------------------------------------------------------

    async def run(self) -> None:
        """Ask for permits until cancelled."""
        if self._semaphore is None:
            return
        while True:
            requests = self._demand()
            if not requests:
                await self._wake.wait()
                self._wake.clear()
                continue
            await self._ask(self._semaphore, requests)

    def close(self) -> None:
        """Ask for nothing more; leave every line and give back what no task uses."""
        for lane in self._lanes.values():
            lane.work = False
            self._withdraw(lane)
            self._give_back(lane, len(lane.idle))
        if self._call is not None:
            self._call.cancel()

    def _demand(self) -> list[tuple[Lane, Request]]:
        """What to ask for now: unanswered requests again, and new ones where there is room."""
        seeking = [lane for lane in self._lanes.values() if lane.seeking]
        free = self._desk.free - sum(len(lane.idle) for lane in seeking)
        for lane in self._lanes.values():
            if lane.asked and not lane.seeking:
                self._withdraw(lane)
        for lane in seeking:
            wanted = self._wanted(lane, free, len(seeking))
            if wanted and not lane.asked:
                lane.asked.append(self._request(lane, queue=True))
                if not lane.saturated:
                    more = min(wanted, lane.declared or lane.step) - 1
                    lane.asked += [self._request(lane, queue=False) for _ in range(more)]
            elif not wanted and lane.asked:
                self._withdraw(lane)
        return [(lane, request) for lane in seeking for request in lane.asked]

    def _wanted(self, lane: Lane, free: int, seeking: int) -> int:
        if free > 0:
            return max(1, free // seeking)
        # All slots are taken. A lane below its share gets its turn all the same, or lanes
        # without a limit, whose tasks are fetched ahead, would keep it out for ever.
        below = (lane.used + len(lane.idle)) * len(self._lanes) < self._desk.slots
        return 1 if below and not lane.idle else 0

    async def _ask(self, semaphore: Semaphore, asked: list[tuple[Lane, Request]]) -> None:
        requests = [request for _, request in asked]
        self._asking = frozenset(request.id for request in requests)
        call = asyncio.ensure_future(semaphore.acquire(requests, self._options.lease_wait))
        self._call = call
        self._wake.clear()
        try:
            await asyncio.wait([call])
            if call.cancelled():
                self._withdraw_unwanted(asked)
                return  # asked again, with what is wanted now
            answers = call.result()
        except asyncio.CancelledError:
            call.cancel()
            await asyncio.wait([call])
            raise
        except Exception as error:
            self._withdraw_unwanted(asked)
            if not isinstance(error, BrokerError):
                logger.exception("asking for permits failed in an unexpected way")
            if await self._backoff.wait() == 1:
                logger.warning("no permits can be had now: %s", error)
            return
        finally:
            self._call = None
            self._asking = frozenset()
        self._backoff.reset()
        denied: set[str] = set()
        granted: set[str] = set()
        for (lane, request), answer in zip(asked, answers, strict=True):
            self._answered(lane, request, answer.grant, answer.token, denied, granted)
        for name in granted - denied:
            self._lanes[name].step = min(64, 2 * self._lanes[name].step)
        for lane, _ in asked:
            lane.saturated = lane.name in denied or (lane.saturated and lane.name not in granted)
        self._poke()

    def _answered(
        self,
        lane: Lane,
        request: Request,
        grant: Grant,
        token: int,
        denied: set[str],
        granted: set[str],
    ) -> None:
        wanted = request in lane.asked
        if grant is Grant.WAITING:
            if not wanted:  # withdrawn meanwhile
                self._permits.withdraw(request)
            return
        if wanted:
            lane.asked.remove(request)
        if grant is Grant.FREE:
            lane.version = 0  # the limit is gone; the next renewal says the same
        elif grant is Grant.DENIED:
            denied.add(lane.name)
            lane.step = FIRST
        elif grant is Grant.GRANTED:
            granted.add(lane.name)
            grip = self._permits.granted(request, token, lane.name)
            if wanted and lane.work:
                lane.idle.append(grip)
            else:
                self._permits.release(grip)

    def _request(self, lane: Lane, *, queue: bool, running: bool = False) -> Request:
        return Request(
            id=self._permits.new_id(),
            key=lane.key,
            worker=self._permits.worker,
            lease=self._options.lease,
            queue=queue,
            running=running,
        )

    def _withdraw(self, lane: Lane) -> None:
        for request in lane.asked:
            self._permits.withdraw(request)
        lane.asked.clear()

    def _withdraw_unwanted(self, asked: list[tuple[Lane, Request]]) -> None:
        """A call ended without an answer: it may have taken effect after a withdrawal."""
        for lane, request in asked:
            if request not in lane.asked:
                self._permits.withdraw(request)

    def _give_back(self, lane: Lane, count: int) -> None:
        for _ in range(count):
            self._permits.release(lane.idle.pop())

    def _look(self) -> None:
        """Demand may have changed: a call that waits is asked anew if others are wanted now."""
        self._wake.set()
        call = self._call
        if call is None or call.done():
            return
        now = frozenset(request.id for _, request in self._demand())
        if now != self._asking:
            call.cancel()
