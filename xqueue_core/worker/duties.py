"""An engine's life: registering, the loops that run side by side, draining, leaving."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from enum import Enum
from typing import Any

from xqueue_core.calls import Declare, Did
from xqueue_core.errors import BrokerError, ConfigError
from xqueue_core.task import HandBack
from xqueue_core.worker.engine import Engine
from xqueue_core.worker.job import Job, Tell, Told
from xqueue_core.worker.keeper import Caretaker
from xqueue_core.worker.link import deadline
from xqueue_core.worker.outcomes import timed_out
from xqueue_core.worker.tools import Backoff

logger = logging.getLogger("xqueue.worker")

#: Seconds until the ledger is asked for again after that failed.
STATS_AGAIN = 1.0
#: Seconds that a coroutine which was cancelled at the end of a drain has to end.
LAST_WORDS = 1.0
#: Seconds that the last outcomes and the last heartbeat may take while the broker is away.
FAREWELL = 5.0


class Exit(Enum):
    """Why a worker ended."""

    STOPPED = "stopped"
    EMPTY = "empty"  # ``burst``: nothing was left
    RECYCLE = "recycle"  # its process must be replaced: code in it cannot be stopped


class Life:
    """Runs an engine from registration to the last heartbeat.

    :meth:`stop` may be called before, while and after :meth:`run` runs, on the engine's loop.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._tools = engine.tools
        self._hurry = asyncio.Event()
        self.abandoned = False  # code of deliveries that were given up may run on

    def stop(self) -> None:
        """Drain: finish within the grace time. Called again: hand everything back at once."""
        if self._engine.stopping.is_set():
            self._hurry.set()
        self._engine.stopping.set()

    async def run(self) -> Exit:
        """Work until stopped; nothing of this engine runs any more when it returns."""
        engine = self._engine
        if not await self._begin():
            await self._leave()
            return Exit.STOPPED
        stop = asyncio.create_task(engine.stopping.wait())
        empty = asyncio.create_task(self._emptied())
        duties = [asyncio.create_task(duty) for duty in self._duties()]
        fetching = asyncio.create_task(engine.fetcher.run())
        try:
            await asyncio.wait(
                {stop, empty, fetching, *duties}, return_when=asyncio.FIRST_COMPLETED
            )
            _raise_failed([fetching, empty, *duties])
            if not (engine.stopping.is_set() or empty.done()):
                raise RuntimeError("a loop of the engine ended by itself")
            exit = Exit.EMPTY if empty.done() else Exit.STOPPED
            await _end([stop, empty])
            await self._drain(fetching)
            _raise_failed(duties)
        finally:
            await _end([stop, empty, fetching, *duties])
        await self._leave()
        return Exit.RECYCLE if engine.hopeless else exit

    # -- beginning -------------------------------------------------------------------------------

    async def _begin(self) -> bool:
        """Register, declare, look at the limits. False if stopped before it was done."""
        first = asyncio.create_task(self._first())
        stop = asyncio.create_task(self._engine.stopping.wait())
        try:
            await asyncio.wait({first, stop}, return_when=asyncio.FIRST_COMPLETED)
            if first.done():
                first.result()
                return True
            return False
        finally:
            await _end([first, stop])

    async def _first(self) -> None:
        engine = self._engine
        await engine.keeper.register()
        # The heartbeat must go on while the rest is repeated until it succeeds.
        beating = asyncio.create_task(engine.keeper.run())
        try:
            await self._until(self._declare_types)
            await self._until(engine.limiter.declare)
            await self._until(engine.renewal.renew)
        finally:
            await _end([beating])

    async def _until(self, call: Callable[[], Awaitable[None]]) -> None:
        backoff = Backoff(self._tools)
        while True:
            try:
                return await call()
            except BrokerError as error:
                if await backoff.wait() == 1:
                    logger.warning("the broker cannot be used yet: %s", error)

    async def _declare_types(self) -> None:
        engine = self._engine
        commands = [Declare(type=spec.name, lane=spec.lane) for spec in engine.specs.values()]
        verdicts = await engine.faces.queue.control(commands)
        for command, verdict in zip(commands, verdicts, strict=True):
            if verdict.did is Did.CONFLICT:
                raise ConfigError(
                    f"tasks of type {command.type!r} live in lane {verdict.of!r}: let them end "
                    f"before declaring lane {command.lane!r}"
                )

    # -- side by side ----------------------------------------------------------------------------

    def _duties(self) -> list[Coroutine[Any, Any, None]]:
        """Loops that run until they are cancelled; one that ends is a bug."""
        engine = self._engine
        duties = [
            engine.keeper.run(),
            engine.settler.run(),
            Caretaker(engine.faces.queue, self._tools).run(),
            engine.publisher.run(),
        ]
        if engine.faces.semaphore is None:
            return duties
        return [
            *duties,
            engine.limiter.run(),
            engine.permits.run(engine.lines.released),
            engine.keys.run(),
            engine.lines.run(),
            engine.lines.watch(),
            self._renewing(),
        ]

    async def _renewing(self) -> None:
        """Renew permits every half heartbeat."""
        engine = self._engine
        failed = False
        while engine.faces.semaphore is not None:
            try:
                await engine.renewal.renew()
                failed = False
            except Exception as error:
                if not isinstance(error, BrokerError):
                    logger.exception("renewing permits failed in an unexpected way")
                if not failed:
                    logger.warning("permits cannot be renewed now: %s", error)
                failed = True
            await self._tools.sleep(engine.options.heartbeat / 2)

    async def _emptied(self) -> None:
        """For ``burst``: wait until nothing is left to do in the lanes served."""
        engine = self._engine
        while True:
            await engine.changed.wait()
            engine.changed.clear()
            idle = not engine.desk.active and engine.settler.idle and engine.barren
            if engine.options.burst and idle and not await self._pending():
                return

    async def _pending(self) -> int:
        """How many tasks wait in lanes that are not paused; parked ones count."""
        engine = self._engine
        if engine.faces.view is None:
            return 0
        try:
            stats = await engine.faces.view.stats()
        except BrokerError:
            # Nothing else need happen that would have it looked at again.
            await self._tools.sleep(STATS_AGAIN)
            engine.changed.set()
            return 1
        return sum(
            row.pending
            for name, lane in stats.lanes.items()
            if name in engine.lanes and not lane.paused
            for row in lane.types.values()
        )

    # -- the end ---------------------------------------------------------------------------------

    async def _drain(self, fetching: asyncio.Task[None]) -> None:
        engine = self._engine
        engine.stopping.set()
        logger.info("stopping: %d tasks are here", len(engine.desk.active))
        engine.fetcher.close()
        engine.limiter.close()
        engine.recall("stop")
        await self._finished(engine.options.grace)
        if engine.desk.active:
            logger.info("handing back %d tasks", len(engine.desk.active))
            for job in list(engine.desk.active):
                engine.send(Tell(job, Told.STOP))
            await self._finished(LAST_WORDS, hurry=False)
        self._give_up()
        await self._within(FAREWELL, lambda: engine.settler.idle and fetching.done())

    async def _finished(self, seconds: float, *, hurry: bool = True) -> None:
        """Wait until nothing runs, for so long; a second stop ends the wait."""
        engine = self._engine
        waits: list[asyncio.Future[Any]] = [asyncio.ensure_future(self._tools.sleep(seconds))]
        if hurry:
            waits.append(asyncio.create_task(_waited(self._hurry)))
        try:
            while self._worth_waiting() and not any(one.done() for one in waits):
                engine.changed.clear()
                change = asyncio.create_task(_waited(engine.changed))
                await asyncio.wait([*waits, change], return_when=asyncio.FIRST_COMPLETED)
                await _end([change])
        finally:
            await _end(waits)

    def _worth_waiting(self) -> bool:
        """False if nothing runs but code that cannot be stopped."""
        hopeless = self._engine.watchman.hopeless()
        return len(hopeless) < len(self._engine.desk.active)

    def _give_up(self) -> None:
        """The process is about to end, and code in it will not: settle in its stead."""
        engine = self._engine
        # Before anything is settled: a loop that comes to itself now must not start what
        # another worker is about to.
        engine.term.end()
        self.abandoned = bool(engine.desk.active)
        now = self._tools.clock()
        for job in list(engine.desk.active):
            late = job.started and deadline(job) <= now
            engine.finish(job, timed_out(job, self._tools.random.random) if late else _left(job))

    async def _within(self, seconds: float, done: Callable[[], bool]) -> None:
        limit = asyncio.ensure_future(self._tools.sleep(seconds))
        try:
            while not done() and not limit.done():
                await self._tools.sleep(0.005)
        finally:
            await _end([limit])

    async def _leave(self) -> None:
        """The last words: what progress there is, permits, the last heartbeat."""
        engine = self._engine
        limit = asyncio.ensure_future(self._farewell())
        sleep = asyncio.ensure_future(self._tools.sleep(FAREWELL))
        await asyncio.wait({limit, sleep}, return_when=asyncio.FIRST_COMPLETED)
        await _end([limit, sleep])
        logger.info("worker %s has stopped", engine.worker)

    async def _farewell(self) -> None:
        engine = self._engine
        try:
            await engine.publisher.flush()
            await engine.permits.flush()
        except BrokerError as error:
            logger.info("permits were left to expire: %s", error)
        await engine.keeper.beat(leaving=True)


def _left(job: Job) -> HandBack:
    return HandBack(ran=bool(job.started), reason="stop")


async def _waited(event: asyncio.Event) -> None:
    await event.wait()


def _raise_failed(tasks: list[asyncio.Task[None]]) -> None:
    """A loop that ended by an error is a bug: it must not go unnoticed."""
    for task in tasks:
        if task.done() and not task.cancelled():
            task.result()


async def _end(futures: Iterable[asyncio.Future[Any]]) -> None:
    """Cancel, and wait until they have ended."""
    tasks = list(futures)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
