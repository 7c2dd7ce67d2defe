"""The heartbeat: keeps the worker's lease, and brings what the backend has to say."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from xqueue_core.calls import Beat, BeatReply, Held, Hold
from xqueue_core.errors import BrokerError, BrokerGone, WorkerIdTaken
from xqueue_core.worker.brokertime import BrokerTime
from xqueue_core.worker.desk import Desk
from xqueue_core.worker.job import Job
from xqueue_core.worker.options import WorkerOptions
from xqueue_core.worker.tools import Backoff, Term, Tools

if TYPE_CHECKING:
    from xqueue_core.abc import TaskQueue

logger = logging.getLogger("xqueue.worker")


@dataclass(slots=True, frozen=True)
class Person:
    """Who the worker is, as its heartbeat says."""

    worker: str
    lanes: list[str]
    types: list[str]


class Keeper:
    """Sends heartbeats on a connection of its own.

    Args:
        answered: the highest call number of ``lease`` whose answer has come.
        counted: in which life of the semaphore all that runs here is counted.
        overdue: jobs whose code outlives its time-out.
        told: takes each reply, with the jobs it is about.
        renewed: called when the term is fresh after it was not.
        acknowledged: takes what an acknowledged heartbeat named, and the answers, when the term
            has been renewed.
    """

    def __init__(
        self,
        queue: TaskQueue,
        person: Person,
        desk: Desk,
        term: Term,
        options: WorkerOptions,
        tools: Tools,
        answered: Callable[[], int],
        counted: Callable[[], int],
        overdue: Callable[[], list[str]],
        draining: Callable[[], bool],
        told: Callable[[Sequence[Job], BeatReply], None],
        renewed: Callable[[], None],
        acknowledged: Callable[[Sequence[Held], Sequence[Hold]], None],
    ) -> None:
        self._queue = queue
        self._person = person
        self._desk = desk
        self._term = term
        self._options = options
        self._tools = tools
        self._answered = answered
        self._counted = counted
        self._overdue = overdue
        self._draining = draining
        self._told = told
        self._renewed = renewed
        self._acknowledged = acknowledged
        self._wanted = asyncio.Event()  # a heartbeat is to be sent at once
        self.time = BrokerTime(tools)  #: the broker's clock, as the replies tell it
        self._started_at = tools.wall()
        self._host = socket.gethostname()
        self._lock = asyncio.Lock()
        self._numbers = itertools.count(1)

    async def register(self) -> None:
        """Send heartbeats until one is acknowledged."""
        backoff = Backoff(self._tools)
        while not await self.beat():
            await backoff.wait()

    async def run(self) -> None:
        """Send one every ``heartbeat`` seconds, and when :meth:`soon` asks, until cancelled."""
        while True:
            begun = self._tools.clock()
            await self.beat()
            taken = self._tools.clock() - begun
            await self._pause(max(0.0, self._options.heartbeat - taken))

    def soon(self) -> None:
        """Have one sent at once; or after the one under way, which does not count."""
        self._wanted.set()

    async def beat(self, *, leaving: bool = False) -> bool:
        """Send one heartbeat; True if it was acknowledged.

        Raises WorkerIdTaken; and BrokerGone, unless it is the last one.
        """
        async with self._lock:
            self._wanted.clear()
            jobs, held = self._desk.held()
            beat = self._beat(leaving)
            sent = self._tools.clock()
            try:
                # A call that hangs must not cost the whole lease.
                async with asyncio.timeout(self._options.patience):
                    reply = await self._queue.extend(beat, held)
            except WorkerIdTaken:
                raise
            except (BrokerError, TimeoutError) as error:
                if isinstance(error, BrokerGone) and not leaving:
                    raise
                logger.warning("the heartbeat was not acknowledged: %r", error)
                return False
            except Exception:
                logger.exception("the heartbeat failed in an unexpected way")
                return False
            self.time.heard(reply.now)
            # In this order: the other side must not start, under the new term, what is lost.
            self._told(jobs, reply)
            now = self._tools.clock()
            if stale := not self._term.fresh(now):
                self._lose_unnamed(jobs, reply)
            self._term.acknowledged(sent)
            if stale and self._term.fresh(now):
                self._renewed()
            self._acknowledged(held, reply.held)
            return True

    def _lose_unnamed(self, named: Sequence[Job], reply: BeatReply) -> None:
        """The worker may have been dead: what came while this heartbeat was under way was leased
        before, and others may have it by now. What is still held here is handed back."""
        known = set(named)
        late = [job for job in self._desk.active if job not in known and not job.lost]
        if late:
            lost = [Hold.LOST] * len(late)
            self._told(late, msgspec.structs.replace(reply, held=lost))

    async def _pause(self, seconds: float) -> None:
        """Wait for so long, or until one is wanted."""
        waits = [
            asyncio.ensure_future(self._tools.sleep(seconds)),
            asyncio.create_task(self._wanted.wait()),
        ]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in waits:
                one.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

    def _beat(self, leaving: bool) -> Beat:
        return Beat(
            worker=self._person.worker,
            lease=self._options.lease,
            heartbeat=self._options.heartbeat,
            answered=self._answered(),
            leaving=leaving,
            host=self._host,
            pid=os.getpid(),
            started_at=self._started_at,
            slots=self._desk.slots,
            running=self._desk.running(),
            lanes=self._person.lanes,
            types=self._person.types,
            overdue=self._overdue(),
            number=next(self._numbers),
            counted=self._counted(),
            draining=self._draining(),
        )


class Caretaker:
    """Calls ``maintain`` whenever the backend wants it: any worker may, at any time."""

    def __init__(self, queue: TaskQueue, tools: Tools) -> None:
        self._queue = queue
        self._tools = tools

    async def run(self) -> None:
        """Maintain until cancelled."""
        backoff = Backoff(self._tools)
        while True:
            try:
                wait = await self._queue.maintain(BUDGET)
            except Exception as error:
                if not isinstance(error, BrokerError):
                    logger.exception("maintenance failed in an unexpected way")
                await backoff.wait()
                continue
            backoff.reset()
            await self._tools.sleep(min(max(wait, SHORTEST), LONGEST))


#: Seconds one call of ``maintain`` may take, roughly.
BUDGET = 0.1
#: Bounds of the wait between two calls (seconds): what is put meanwhile may be due earlier.
SHORTEST = 0.01
LONGEST = 2.5
