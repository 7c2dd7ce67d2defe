"""How an engine's life ends: it drains, gives up what cannot be stopped, says its last words.

In this order, because whoever is told that a task is handed back may start it at once: first
everything is settled that does not run here, and its permits go back; what runs on in spite of
all is given up last, with nothing but the last heartbeat between that and the process's end.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from typing import Any

from xqueue_core.errors import BrokerError
from xqueue_core.task import AnyOutcome, HandBack
from xqueue_core.worker import report
from xqueue_core.worker.engine import Engine
from xqueue_core.worker.job import Job, Stage, Tell, Told
from xqueue_core.worker.link import deadline
from xqueue_core.worker.outcomes import timed_out

logger = logging.getLogger("xqueue.worker")

#: Seconds that a coroutine which was cancelled at the end of a drain has to end.
LAST_WORDS = 1.0
#: Seconds that the last outcomes may take to be recorded while the broker is away.
FAREWELL = 5.0
#: The same for each of the last words: permits, what is given up, the last heartbeat.
WORD = 2.5


class Ending:
    """Ends one engine. ``hurry`` is set when the grace time is to be cut short."""

    def __init__(self, engine: Engine, hurry: asyncio.Event) -> None:
        self._engine = engine
        self._tools = engine.tools
        self._hurry = hurry
        self.abandoned = False  # code of deliveries that were given up may run on

    async def drain(self, fetching: asyncio.Task[None]) -> None:
        """Let what runs end within the grace time; settle all but what cannot be stopped."""
        engine = self._engine
        engine.stopping.set()
        engine.keeper.soon()  # who asks why a task waits learns that nothing more is leased here
        self._hello()
        engine.fetcher.close()
        engine.limiter.close()
        engine.recall(engine.why)
        await self._finished(engine.options.grace)
        if engine.desk.active:
            self._say()
            for job in list(engine.desk.active):
                engine.send(Tell(job, Told.STOP))
            await self._finished(LAST_WORDS, hurry=False)
        # Before anything is given up: a loop that comes to itself now must not start what
        # another worker is about to.
        engine.term.end()
        # What it starts just now is claimed, and runs.
        for job in [job for job in engine.desk.active if job.claim()]:
            self._give_up(job, ran=False)
        engine.settler.urge()
        await self._until(FAREWELL, lambda: engine.settler.idle and fetching.done())

    def _hello(self) -> None:
        """Say what is waited for, and how to wait no longer."""
        engine = self._engine
        if not engine.desk.active:
            logger.info("stopping; nothing runs here")
            return
        grace = 0.0 if self._hurry.is_set() else engine.options.grace
        logger.info(
            "stopping; waits up to %g s for %s%s",
            grace,
            report.listed(engine.desk.active),
            "; told again, it hands back at once what has not ended" if grace else "",
        )

    async def last_words(self) -> None:
        """Progress and free permits go; then what runs on is given up.

        Only the settler and the heartbeat are still at work.
        """
        engine = self._engine
        await self._within(WORD, self._flush)
        self.abandoned = bool(engine.desk.active)
        for job in list(engine.desk.active):
            self._give_up(job, ran=not job.claim())
        # Also for what could not be recorded so far: the last heartbeat hands it back, and would
        # have work done again that has succeeded, if only that heartbeat got through.
        await self._until(WORD, lambda: engine.settler.idle)

    async def leave(self) -> None:
        """The last heartbeat, by which the backend forgets the worker, and the last permits."""
        beat = partial(self._engine.keeper.beat, leaving=True)
        words = self._within(WORD, beat), self._within(WORD, self._flush)
        await asyncio.gather(*words, return_exceptions=True)  # cancelled, it waits for both
        logger.info("worker %s has stopped", self._engine.worker)

    def disown(self) -> None:
        """Nothing here is this worker's any more: have it end, and settle nothing."""
        engine = self._engine
        engine.term.end()
        self.abandoned = bool(engine.desk.active)
        for job in engine.desk.active:
            engine.send(Tell(job, Told.LOST))

    async def _within(self, seconds: float, work: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        """Do it, for so long at most; what it raises is logged."""
        doing = asyncio.ensure_future(work())
        limit = asyncio.ensure_future(self._tools.sleep(seconds))
        try:
            await asyncio.wait({doing, limit}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await ended([doing, limit])
        if not doing.cancelled() and (error := doing.exception()) is not None:
            logger.error("a last word failed in an unexpected way", exc_info=error)

    async def _flush(self) -> None:
        try:
            await self._engine.publisher.flush()
            await self._engine.permits.flush()
        except BrokerError as error:
            logger.info("permits were left to expire: %s", error)

    async def _finished(self, seconds: float, *, hurry: bool = True) -> None:
        """Wait until nothing runs, for so long; a second stop ends the wait."""
        engine = self._engine
        waits: list[asyncio.Future[Any]] = [asyncio.ensure_future(self._tools.sleep(seconds))]
        change = waits[0]
        if hurry:
            waits.append(asyncio.create_task(waited(self._hurry)))
        try:
            while self._worth_waiting() and not any(one.done() for one in waits):
                engine.changed.clear()
                change = asyncio.create_task(waited(engine.changed))
                await asyncio.wait([*waits, change], return_when=asyncio.FIRST_COMPLETED)
                await ended([change])
        finally:
            await ended([*waits, change])

    def _worth_waiting(self) -> bool:
        """False if nothing runs but code that cannot be stopped."""
        hopeless = self._engine.watchman.hopeless()
        return len(hopeless) < len(self._engine.desk.active)

    def _give_up(self, job: Job, *, ran: bool) -> None:
        """The process is about to end, and code in it will not: settle in its stead.

        Permits of code that runs on are neither used nor given back: they expire.
        """
        engine = self._engine
        job.stage = Stage.ENDED
        outcome: AnyOutcome = HandBack(ran=ran, reason=engine.why)
        if not ran:
            engine.free(job)
        elif job.outcome is not None:  # of which word is on its way
            outcome = job.outcome
        elif job.started and deadline(job) <= self._tools.clock():
            outcome = timed_out(job, self._tools.random.random)
            report.failure(job, outcome)
        engine.left(job, outcome)

    def _say(self) -> None:
        """Log what is handed back. What is beyond its time-out is not: that failed, or will."""
        now = self._tools.clock()
        here = [one for one in self._engine.desk.active if one.outcome is None]
        back = [one for one in here if not one.started or deadline(one) > now]
        if back:
            logger.info("handing back (%s) %s", self._engine.why, report.listed(back))

    async def _until(self, seconds: float, done: Callable[[], bool]) -> None:
        limit = asyncio.ensure_future(self._tools.sleep(seconds))
        try:
            while not done() and not limit.done():
                await self._tools.sleep(0.005)
        finally:
            await ended([limit])


async def waited(event: asyncio.Event) -> None:
    """Wait for it, as a coroutine of no result."""
    await event.wait()


async def ended(futures: Iterable[asyncio.Future[Any]]) -> None:
    """Cancel, and wait until they have ended."""
    tasks = list(futures)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
