"""Permits of concurrency keys: asked for without waiting; who gets none is parked."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from xqueue_core.errors import BrokerError, InvalidTask, Unavailable, Unknown
from xqueue_core.permits import Answer, Grant, Keep, Permit, Request, task_key
from xqueue_core.task import AnyOutcome, Failed, Failure, HandBack, Parked
from xqueue_core.text import storable
from xqueue_core.worker.grip import Grip
from xqueue_core.worker.job import Job
from xqueue_core.worker.options import WorkerOptions
from xqueue_core.worker.permits import PermitDesk
from xqueue_core.worker.tools import Backoff, Tools

if TYPE_CHECKING:
    from xqueue_core.abc import Semaphore

logger = logging.getLogger("xqueue.worker")


#: How often it is looked whether permits may be relied upon again (seconds).
STALE = 0.1


class Keys:
    """Lets keyed jobs through to the executor, or parks them.

    Args:
        start: takes a job that may run.
        refuse: takes a job that may not, and its outcome.
    """

    def __init__(
        self,
        semaphore: Semaphore | None,
        permits: PermitDesk,
        options: WorkerOptions,
        tools: Tools,
        start: Callable[[Job], None],
        refuse: Callable[[Job, AnyOutcome], None],
    ) -> None:
        self._semaphore = semaphore
        self._permits = permits
        self._options = options
        self._tools = tools
        self._backoff = Backoff(tools)
        # A call that hangs must not keep slots from lanes that need no permit.
        self._patience = options.patience
        self._start = start
        self._refuse = refuse
        self._waiting: list[tuple[Job, Request]] = []
        self._wake = asyncio.Event()
        self._stale: float | None = None  # since when permits cannot be relied upon

    def admit(self, job: Job) -> None:
        """A keyed job has come: ask for its permit."""
        if self._semaphore is None:
            self._refuse(job, HandBack(unable="limits", reason="no semaphore"))
            return
        self._waiting.append((job, self._request(job)))
        self._wake.set()

    def register(self, job: Job) -> Request:
        """A request for a job that runs, and whose permit the semaphore has lost."""
        return self._request(job, running=True)

    def registered(self, job: Job, grip: Grip) -> None:
        """That request was granted, above the limit if need be."""
        grip.job, job.key_permit = job, grip

    def freed(self, job: Job) -> None:
        """The job has ended: its key's permit goes back."""
        grip, job.key_permit = job.key_permit, None
        if grip is not None and not grip.lost:
            self._permits.release(grip)

    def withdraw(self, job: Job) -> bool:
        """The job must not start. False if it is not waiting here."""
        for index, (waiting, request) in enumerate(self._waiting):
            if waiting is job:
                del self._waiting[index]
                self._permits.withdraw(request)
                return True
        return False

    async def run(self) -> None:
        """Ask until cancelled."""
        while self._semaphore is not None:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                if self._permits.fresh() and not self._permits.hushed():
                    self._stale = None
                    await self._ask(self._waiting[:500])
                else:
                    # Nothing may start on what is granted now: it would go back, and come again.
                    self._give_up_stale()
                    await self._tools.sleep(STALE)

    def _give_up_stale(self) -> None:
        """The semaphore is away: slots that wait for it are of use to lanes that need none."""
        now = self._tools.clock()
        if self._permits.fresh():
            self._stale = None
        elif self._stale is None:
            self._stale = now
        elif now - self._stale > self._options.heartbeat:  # a renewal after a pause has failed
            for job, _ in list(self._waiting):
                self._permits.stalled.add(job.lane)
                self.withdraw(job)
                self._refuse(job, HandBack(reason="semaphore away"))

    async def _ask(self, batch: list[tuple[Job, Request]]) -> None:
        try:
            answers = await self._acquired([request for _, request in batch])
        except asyncio.CancelledError:
            # The worker ends; what the call may have granted must not outlive it.
            for _, request in batch:
                self._permits.withdraw(request)
            raise
        except (Unavailable, Unknown) as error:
            self._withdraw_unwanted(batch)
            if error.answered:
                await self._one_by_one(batch, error)
                return
            # The jobs stay held, and their slots taken, until there is an answer: the same
            # requests are repeated, so none is granted twice.
            if await self._backoff.wait() == 1:
                logger.warning("no permits for keys can be had now: %s", error)
            return
        except Exception as error:  # noqa: BLE001 - told apart below
            self._withdraw_unwanted(batch)
            await self._one_by_one(batch, error)
            return
        self._backoff.reset()
        self._answered(batch, answers)

    async def _acquired(self, requests: Sequence[Request]) -> Sequence[Answer]:
        """Ask; raises Unknown, and leaves the requests in doubt, if there is no answer in time."""
        bound = asyncio.timeout(self._patience)
        try:
            async with bound:
                return await self._permits.acquire(requests, 0.0)
        except TimeoutError:
            if not bound.expired():
                raise
            raise Unknown(f"the semaphore did not answer within {self._patience:g} s") from None

    async def _one_by_one(self, batch: list[tuple[Job, Request]], error: Exception) -> None:
        """It will not help to repeat the call: find whose fault that is; the others go on."""
        if len(batch) > 1:
            for entry in batch:
                if entry in self._waiting:
                    await self._ask([entry])
            return
        [(job, _)] = batch
        if not self.withdraw(job):
            return
        known = isinstance(error, (BrokerError, InvalidTask))
        logger.error("%s: its key has no permits: %s", job.id, error, exc_info=not known)
        reason = storable(str(error))
        if isinstance(error, InvalidTask):
            self._refuse(job, Failed(Failure("limits", message=reason)))
        else:
            self._refuse(job, HandBack(unable="limits", reason=reason))

    def _answered(self, batch: list[tuple[Job, Request]], answers: Sequence[Answer]) -> None:
        done = {id(job) for job, _ in batch}
        here = {id(job) for job, _ in self._waiting}
        self._waiting = [entry for entry in self._waiting if id(entry[0]) not in done]
        for (job, request), answer in zip(batch, answers, strict=True):
            if answer.grant is Grant.GRANTED:
                job.key_permit = self._permits.granted(request, answer.token, "")
                job.key_permit.job = job
            here_still, above = id(job) in here, answer.keep is Keep.YIELD
            if above or not here_still:  # withdrawn meanwhile
                self.freed(job)
            if not here_still:
                continue
            if answer.grant in (Grant.GRANTED, Grant.FREE) and not above:
                self._start(job)
            else:
                self._refuse(job, Parked())

    def _withdraw_unwanted(self, batch: list[tuple[Job, Request]]) -> None:
        """A call failed: it may have taken effect after a withdrawal, which is repeated."""
        wanted = {request.id for _, request in self._waiting}
        for _, request in batch:
            if request.id not in wanted:
                self._permits.withdraw(request)

    def _request(self, job: Job, *, running: bool = False) -> Request:
        task = job.delivery.task
        return Request(
            id=self._permits.new_id(),
            key=task_key(task.lane, task.key or ""),
            worker=self._permits.worker,
            lease=self._options.lease,
            queue=False,
            running=running,
            limit=task.key_limit,
            stamp=job.delivery.accepted_at,
        )


def key_of(permit: Permit) -> tuple[str, str] | None:
    """Lane and key of a key's permit; None for a lane's."""
    kind, _, rest = permit.key.partition(":")
    if kind != "key":
        return None
    lane, _, key = rest.partition(":")
    return lane, key
