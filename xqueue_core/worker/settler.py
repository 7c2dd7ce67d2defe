"""Records outcomes: at once when idle, together while a call is under way, until told."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from xqueue_core.calls import Settle, Settled
from xqueue_core.errors import BrokerError, Refused
from xqueue_core.task import AnyOutcome, Failed, Failure, Success
from xqueue_core.worker.job import Job
from xqueue_core.worker.tools import Backoff, Tools

if TYPE_CHECKING:
    from xqueue_core.abc import TaskQueue

logger = logging.getLogger("xqueue.worker")

#: Most outcomes in one call.
BATCH = 500
#: Bytes of results that may wait; beyond it nothing is fetched.
BYTES = 64 * 1024 * 1024

Entry = tuple[Job, AnyOutcome]


class Settler:
    """Keeps every outcome until the backend has said APPLIED, REPEATED or LOST.

    ``settled`` is called with each job and its verdict. ``full`` is the brake: while it is
    True nothing should be fetched, so that memory stays bounded however long the broker is away.
    """

    def __init__(
        self,
        queue: TaskQueue,
        tools: Tools,
        settled: Callable[[Job, AnyOutcome, Settled], None],
        most: int,
    ) -> None:
        self._queue = queue
        self._backoff = Backoff(tools)
        self._settled = settled
        self._most = most
        self._waiting: deque[Entry] = deque()
        self._under_way: list[Entry] = []
        self._bytes = 0
        self._wake = asyncio.Event()

    def add(self, job: Job, outcome: AnyOutcome) -> None:
        """Record this outcome."""
        self._waiting.append((job, outcome))
        if type(outcome) is Success:
            self._bytes += len(outcome.result)
        self._wake.set()

    @property
    def full(self) -> bool:
        """True while too much waits."""
        return len(self._waiting) >= self._most or self._bytes >= BYTES

    @property
    def idle(self) -> bool:
        """True if nothing waits or is under way."""
        return not self._waiting and not self._under_way

    async def run(self) -> None:
        """Settle until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting or self._under_way:
                await self._settle()

    async def _settle(self) -> None:
        if not self._under_way:
            count = min(BATCH, len(self._waiting))
            self._under_way = [self._waiting.popleft() for _ in range(count)]
        batch = self._under_way
        try:
            await self._send(batch)
        except Refused as error:
            await self._one_by_one(batch, error)
        except BrokerError as error:
            await self._failed(error)
        except Exception as error:
            logger.exception("settling failed in an unexpected way; it is repeated")
            await self._failed(error)

    async def _send(self, batch: list[Entry]) -> None:
        verdicts = await self._queue.settle(
            [Settle(job.delivery.task.id, job.delivery.token, outcome) for job, outcome in batch]
        )
        if self._backoff.reset():
            logger.info("outcomes are recorded again")
        if batch is self._under_way:
            self._under_way = []
        for (job, outcome), verdict in zip(batch, verdicts, strict=True):
            if type(outcome) is Success:
                self._bytes -= len(outcome.result)
            self._settled(job, outcome, verdict)

    async def _failed(self, error: Exception) -> None:
        failures = await self._backoff.wait()
        if failures == 1:
            logger.warning("outcomes cannot be recorded now, they are kept: %s", error)

    async def _one_by_one(self, batch: list[Entry], error: Refused) -> None:
        """The broker refused the whole call for good: find whose fault it was."""
        if len(batch) > 1:
            while batch:
                try:
                    await self._send(batch[:1])
                except Refused as refused:
                    self._replace(batch[0], refused)
                # Anything else ends this round; what is left is repeated with the next.
                del batch[0]
        else:
            self._replace(batch[0], error)
        self._under_way = []

    def _replace(self, entry: Entry, error: Refused) -> None:
        """An outcome that the broker will never take becomes a failure that says so."""
        job, outcome = entry
        logger.error("the outcome of %s was refused: %s", job.id, error)
        if type(outcome) is Success:
            self._bytes -= len(outcome.result)
        if type(outcome) is Failed:
            self._settled(job, outcome, Settled.LOST)
            return
        self._waiting.append((job, Failed(Failure("result", message=str(error)))))
