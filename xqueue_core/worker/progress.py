"""Progress on its way from a handler to the notifier: throttled, then in batches."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from xqueue_core.errors import BrokerError, Refused
from xqueue_core.task import Event, EventName, Progress, State
from xqueue_core.worker.host import Host, Stoppable
from xqueue_core.worker.job import Job
from xqueue_core.worker.tools import Tools

if TYPE_CHECKING:
    from xqueue_core.abc import Notifier

logger = logging.getLogger("xqueue.worker")

#: Seconds between two progress events of one task.
INTERVAL = 0.2
#: Tasks whose progress may wait for the notifier; beyond it the oldest is dropped.
WAITING = 10_000


class Reporter:
    """On the handlers' side: at most five events a second for each task; the latest wins.

    :meth:`report` may be called from any thread.
    """

    def __init__(
        self,
        send: Callable[[Event], None],
        host: Host,
        worker: str,
        tools: Tools,
    ) -> None:
        self._send = send
        self._host = host
        self._worker = worker
        self._tools = tools
        self._late: set[Job] = set()
        self._timer: Stoppable | None = None

    def report(self, job: Job, progress: Progress) -> None:
        """Send it now if the task's last one is long enough ago, else keep the latest."""
        progress.at = self._tools.wall()
        now = self._tools.clock()
        if now - job.progress_at >= INTERVAL:
            job.progress_at = now
            job.progress = None
            self._send(self._event(job, progress))
            return
        job.progress = progress
        if not job.reporting:  # else the loop, however busy, will look
            job.reporting = True
            self._host.soon(lambda: self._later(job))

    def last(self, job: Job) -> None:
        """The job ends: send what was kept back."""
        # Cleared before it is taken: a thread that reports in between wakes this loop again.
        self._late.discard(job)
        job.reporting = False
        progress, job.progress = job.progress, None
        if progress is not None:
            self._send(self._event(job, progress))

    def _later(self, job: Job) -> None:
        if job.ended:
            self.last(job)
            return
        self._late.add(job)
        if self._timer is None:
            self._timer = self._host.later(INTERVAL, self._flush)

    def _flush(self) -> None:
        self._timer = None
        now = self._tools.clock()
        for job in list(self._late):
            job.progress_at = now
            self.last(job)

    def _event(self, job: Job, progress: Progress) -> Event:
        task = job.delivery.task
        return Event(
            task.id,
            0,
            EventName.PROGRESS,
            State.PROCESSING,
            progress.at,
            lane=task.lane,
            attempt=job.delivery.attempt,
            delivery=job.delivery.token,
            worker=self._worker,
            data=msgspec.structs.asdict(progress),
        )


class Publisher:
    """On the engine's side: publishes what has gathered. What fails is dropped, and counted."""

    def __init__(self, notifier: Notifier | None) -> None:
        self._notifier = notifier
        self._waiting: dict[str, Event] = {}
        self._wake = asyncio.Event()
        self.dropped = 0

    def add(self, event: Event) -> None:
        """Publish it soon; a later one of the same task takes its place."""
        if self._notifier is None:
            return
        self._waiting.pop(event.id, None)
        self._waiting[event.id] = event
        if len(self._waiting) > WAITING:
            del self._waiting[next(iter(self._waiting))]
            self.dropped += 1
        self._wake.set()

    async def run(self) -> None:
        """Publish until cancelled."""
        while True:
            await self._wake.wait()
            await self.flush()

    async def flush(self) -> None:
        """Publish what has gathered."""
        self._wake.clear()
        events = list(self._waiting.values())
        self._waiting.clear()
        if self._notifier is None or not events or await self._publish(self._notifier, events):
            return
        for event in events:  # one of them may be at fault
            await self._publish(self._notifier, [event])

    async def _publish(self, notifier: Notifier, events: list[Event]) -> bool:
        """False if they should be tried one by one; else they are published or dropped."""
        try:
            await notifier.publish(events)
        except Exception as error:  # noqa: BLE001 - progress may be lost, a task may not suffer
            away = isinstance(error, BrokerError | OSError) and not isinstance(error, Refused)
            if not away and len(events) > 1:
                return False
            self.dropped += len(events)
            logger.debug("progress of %d tasks was not published: %s", len(events), error)
        return True
