"""An engine's life: registering, the loops that run side by side, and when it ends."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from enum import Enum
from typing import Any

from xqueue_core.abc import TaskView
from xqueue_core.calls import Declare, Did
from xqueue_core.errors import BrokerError, BrokerGone, ConfigError, WorkerIdTaken
from xqueue_core.task import State
from xqueue_core.views import Filter
from xqueue_core.worker import report
from xqueue_core.worker.ending import Ending, ended
from xqueue_core.worker.engine import Engine
from xqueue_core.worker.keeper import Caretaker
from xqueue_core.worker.pacing import Busy, Pacing
from xqueue_core.worker.scheduler import Scheduler
from xqueue_core.worker.tools import Backoff

logger = logging.getLogger("xqueue.worker")

#: Seconds until the ledger is asked for again after that failed.
STATS_AGAIN = 1.0
#: Seconds until it is said again that a broker cannot be used yet: doubling, at most.
SAID_AGAIN, LONGEST = 5.0, 60.0


class Exit(Enum):
    """Why a worker ended."""

    STOPPED = "stopped"
    ORDERED = "ordered"  # by an operator
    EMPTY = "empty"  # ``burst``: nothing was left
    RECYCLE = "recycle"  # by itself: its process must be replaced, code in it cannot be stopped


class Life:
    """Runs an engine from registration to the last heartbeat.

    :meth:`stop` may be called before, while and after :meth:`run` runs, on the engine's loop.
    ``busy`` is called once a second; ``scheduler`` fires recurring tasks. ``semaphore`` says
    where limits live, for people.
    """

    def __init__(
        self,
        engine: Engine,
        busy: Callable[[Busy], None] | None = None,
        scheduler: Scheduler | None = None,
        semaphore: str = "of the broker",
    ) -> None:
        self._engine = engine
        self._semaphore = semaphore
        self._busy = busy
        self.scheduler = scheduler
        self._tools = engine.tools
        self._asked = False
        self._hurry = asyncio.Event()
        self._ending = Ending(engine, self._hurry)

    @property
    def abandoned(self) -> bool:
        """True if code of deliveries that were given up may run on."""
        return self._ending.abandoned

    def stop(self) -> None:
        """Drain: finish within the grace time. Called again: hand everything back at once."""
        if self._asked:  # not merely ordered, or to be replaced: it drains for that already
            self._hurry.set()
        self._asked = True
        self._engine.stopping.set()

    async def run(self) -> Exit:
        """Work until stopped; nothing of this engine runs any more when it returns.

        Raises WorkerIdTaken and BrokerGone; what ran is then cut off, for nobody takes its outcome.
        """
        engine = self._engine
        if not await self._begin():
            await self._ending.leave()
            return self._stopped()
        stop = asyncio.create_task(engine.stopping.wait())
        empty = asyncio.create_task(self._emptied())
        vital = [asyncio.create_task(duty) for duty in (engine.keeper.run(), engine.settler.run())]
        duties = [asyncio.create_task(duty) for duty in self._duties()]
        fetching = asyncio.create_task(engine.fetcher.run())
        try:
            await asyncio.wait(
                {stop, empty, fetching, *vital, *duties}, return_when=asyncio.FIRST_COMPLETED
            )
            _raise_failed([fetching, empty, *vital, *duties])
            if not (engine.stopping.is_set() or empty.done()):
                raise RuntimeError("a loop of the engine ended by itself")
            done = empty.done()
            await ended([stop, empty])
            await self._ending.drain(fetching)
            _raise_failed([*vital, *duties])
            await ended([fetching, *duties])
            await self._ending.last_words()
            _raise_failed(vital)
        except (WorkerIdTaken, BrokerGone):
            self._ending.disown()
            raise
        finally:
            await ended([stop, empty, fetching, *vital, *duties])
        await self._ending.leave()
        # Whoever wants it to end wants no other in its place, whatever code is left in it.
        if engine.hopeless and not (self._asked or engine.ordered):
            return Exit.RECYCLE
        return Exit.EMPTY if done else self._stopped()

    def _stopped(self) -> Exit:
        return Exit.ORDERED if self._engine.ordered else Exit.STOPPED

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
            await ended([first, stop])

    async def _first(self) -> None:
        engine = self._engine
        await engine.keeper.register()
        # The heartbeat must go on while the rest is repeated until it succeeds.
        beating = asyncio.create_task(engine.keeper.run())
        try:
            await self._until(self._declare_types)
            # Any lane may have an operator's limit, which only the semaphore knows: until it
            # has answered, nothing can start in any lane without a risk for G6.
            lanes = ", ".join(engine.lanes)
            away = f"the semaphore {self._semaphore} cannot be used yet, and may know of limits"
            waiting = f"{away}: nothing starts until it can (lanes: {lanes})"
            await self._until(engine.limiter.declare, waiting)
            await self._until(engine.renewal.renew, waiting)
            await engine.keeper.register()  # now it can say where what it will run is counted
            if self.scheduler is not None:
                await self._until(self.scheduler.begin)
        finally:
            await ended([beating])

    async def _until(
        self, call: Callable[[], Awaitable[None]], failing: str = "the broker cannot be used yet"
    ) -> None:
        """Repeat a call until it succeeds; now and then it is said that it does not."""
        backoff = Backoff(self._tools)
        due, pause = self._tools.clock(), SAID_AGAIN
        while True:
            try:
                return await call()
            except BrokerGone:
                raise
            except BrokerError as error:
                if (now := self._tools.clock()) >= due:
                    logger.warning("%s: %s", failing, error)
                    due, pause = now + pause, min(LONGEST, 2 * pause)
            await backoff.wait()

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
        """Loops that run until they are cancelled; one that ends is a bug.

        Beside the heartbeat and the settler, which outlive them.
        """
        engine = self._engine
        duties = [
            Caretaker(engine.faces.queue, self._tools).run(),
            engine.publisher.run(),
        ]
        if self._busy is not None or engine.options.min_concurrency is not None:
            duties.append(Pacing(engine, self._busy).run())
        if self.scheduler is not None:
            duties.append(self.scheduler.run())
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
            except BrokerGone:
                raise
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
        engine.settler.gave_up = engine.changed.set
        while True:
            await engine.changed.wait()
            engine.changed.clear()
            if engine.options.burst and engine.barren and self._idle() and await self._nothing():
                break
        if lost := engine.settler.spent:
            text = "ending without the outcomes of %s: the broker does not take them"
            logger.error(text, report.listed(lost))

    def _idle(self) -> bool:
        """True if no task is here, but for those whose outcomes nobody takes."""
        return not self._engine.desk.active and self._engine.settler.done

    async def _nothing(self) -> bool:
        """True if nothing is left; nothing is fetched after that.

        What a call under way has taken is no longer pending and not here yet, so the ledger is
        asked when no call is.
        """
        fetcher = self._engine.fetcher
        await fetcher.hold()
        left = True
        try:
            left = not self._idle() or bool(await self._pending())
        finally:
            if left:
                fetcher.resume()
        return not left

    async def _pending(self) -> int:
        """How many tasks wait in lanes that are not paused; parked ones count."""
        engine = self._engine
        view = engine.faces.view
        if view is None:
            return 0
        try:
            return await self._waiting(view)
        except BrokerError:
            # Nothing else need happen that would have it looked at again.
            await self._tools.sleep(STATS_AGAIN)
            engine.changed.set()
            return 1

    async def _waiting(self, view: TaskView) -> int:
        stats = await view.stats()
        lanes = {
            name: list(lane.types.values())
            for name, lane in stats.lanes.items()
            if name in self._engine.lanes and not lane.paused
        }
        pending = sum(row.pending for rows in lanes.values() for row in rows)
        # One in quarantine counts as what it was, which the ledger does not tell; and it is
        # nobody's work any more.
        if 0 < pending <= sum(row.quarantined for rows in lanes.values() for row in rows):
            wanted = Filter(states=frozenset({State.PENDING}), lanes=frozenset(lanes))
            return int(await _any(view, wanted))
        return pending


async def _any(view: TaskView, wanted: Filter) -> bool:
    """True if a task that can be read matches."""
    after: str | None = None
    while True:
        page = await view.list(wanted, after, 100)
        if any(not info.quarantined for info in page.items):
            return True
        if page.next is None:
            return False
        after = page.next


def _raise_failed(tasks: list[asyncio.Task[None]]) -> None:
    """A loop that ended by an error is a bug: it must not go unnoticed."""
    for task in tasks:
        if task.done() and not task.cancelled():
            task.result()
