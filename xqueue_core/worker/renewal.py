"""Renews permits, and carries out what the semaphore says about them and about limits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from xqueue_core.errors import BrokerError, Unavailable, Unknown
from xqueue_core.permits import Grant, Keep, Request, task_key
from xqueue_core.worker.desk import Desk
from xqueue_core.worker.grip import Grip
from xqueue_core.worker.job import Job, Recall, Stage
from xqueue_core.worker.keys import Keys
from xqueue_core.worker.limiter import Limiter
from xqueue_core.worker.options import WorkerOptions
from xqueue_core.worker.permits import PermitDesk

if TYPE_CHECKING:
    from xqueue_core.abc import Semaphore

T = TypeVar("T")


class Renewal:
    """One :meth:`renew` every half heartbeat. ``recall`` takes words to the executor, also those
    that are ``overdue``.

    Whatever runs under a limit without a permit is registered at the next renewal: because it
    began before the limit, or because its permit was lost while it ran. It counts until it ends,
    above the limit if need be, and nothing else starts under its permit.
    """

    def __init__(
        self,
        semaphore: Semaphore | None,
        permits: PermitDesk,
        limiter: Limiter,
        keys: Keys,
        desk: Desk,
        options: WorkerOptions,
        recall: Callable[[Recall], None],
        overdue: Callable[[], list[Recall]],
    ) -> None:
        self._semaphore = semaphore
        self._permits = permits
        self._limiter = limiter
        self._keys = keys
        self._desk = desk
        self._patience = options.patience
        self._recall = recall
        self._overdue = overdue
        #: What runs without a permit of its lane, or of its key, and has no answer yet.
        self._lane_less: dict[Job, Request] = {}
        self._key_less: dict[Job, Request] = {}

    async def renew(self) -> None:
        """Renew permits and look at the limits, once.

        Raises what the semaphore raises, Unknown if it does not answer in time, and Unavailable
        if it has lost its data before it could tell for the first time which lanes have limits.
        """
        versions = await self._versions()
        lost, failure = True, None
        try:
            lost = await self._in_time(self._limiter.forgotten(versions))
        except BrokerError as error:
            failure = error  # what runs is to be counted all the same
        if not lost:
            self._limited(versions)
        elif not self._limiter.sighted:
            raise failure or Unavailable("it has lost its data just now")
        self._find_uncounted(versions)
        counted = await self._in_time(self._register(self._lane_less, keyed=False))
        self._limiter.open()
        counted &= await self._in_time(self._register(self._key_less, keyed=True))
        for recall in self._overdue():
            self._recall(recall)
        if failure is not None:
            raise failure
        if counted:
            self._limiter.counts()

    async def _versions(self) -> Mapping[str, int]:
        try:
            return await self._in_time(self._renewed())
        except BaseException:
            self._limiter.interrupted()
            raise

    async def _in_time(self, call: Coroutine[Any, Any, T]) -> T:
        try:
            async with asyncio.timeout(self._patience):
                return await call
        except TimeoutError:
            raise Unknown(f"the semaphore did not answer within {self._patience:g} s") from None

    async def _renewed(self) -> Mapping[str, int]:
        free = {_key_of(job): None for job in self._unlimited()}
        return await self._permits.renew([*self._limiter.keys, *free], self._told)

    def _told(self, grip: Grip, keep: Keep) -> None:
        job = grip.job
        if job is None:
            self._limiter.dropped(grip)
            if keep is Keep.YIELD:
                self._permits.release(grip)
        elif not job.started:
            self._recall(Recall("permit", job=job))

    # -- counting what runs ----------------------------------------------------------------------

    def _limited(self, versions: Mapping[str, int]) -> None:
        """First sight of a limit: what has not started goes back, without waiting for its turn."""
        for lane in self._limiter.seen(versions):
            self._recall(Recall("limited", lane=lane))

    def _unlimited(self) -> list[Job]:
        """What has a key, and was let through because that had no limit."""
        return [
            job
            for job in self._desk.active
            if job.delivery.task.key is not None
            and job.key_permit is None
            and job.stage is Stage.CROSSED
        ]

    def _find_uncounted(self, versions: Mapping[str, int]) -> None:
        for job in self._limiter.uncounted():
            if job not in self._lane_less:
                self._lane_less[job] = self._limiter.register(job)
                if not job.started:
                    self._recall(Recall("limited", job=job))
        for job in self._desk.active:
            grip = job.key_permit
            if grip is not None and grip.lost and job.started and job not in self._key_less:
                self._key_less[job] = self._keys.register(job)
        for job in self._unlimited():
            if versions.get(_key_of(job)) and job not in self._key_less:
                self._key_less[job] = self._keys.register(job)
                if not job.started:
                    self._recall(Recall("limited", job=job))

    async def _register(self, less: dict[Job, Request], *, keyed: bool) -> bool:
        """Have counted what is uncounted: by the same requests until they are answered.

        True if all is.
        """
        for job, request in list(less.items()):
            if job.stage is Stage.ENDED:  # an answer that was lost may have granted it
                del less[job]
                self._permits.withdraw(request)
        asked = list(less.items())
        if not asked or self._semaphore is None:
            return True
        try:
            answers = await self._permits.acquire([request for _, request in asked], 0.0)
        except asyncio.CancelledError:
            # The worker ends, or it took too long: what this granted must not be forgotten.
            less.clear()
            for _, request in asked:
                self._permits.withdraw(request)
            raise
        counted = True
        for (job, request), answer in zip(asked, answers, strict=True):
            del less[job]
            if answer.grant is not Grant.GRANTED:
                counted = False
                continue
            grip = self._permits.granted(request, answer.token, "" if keyed else job.lane)
            if job.stage is Stage.ENDED:
                self._permits.release(grip)
            elif keyed:
                self._keys.registered(job, grip)
            else:
                self._limiter.registered(job, grip)
        return counted


def _key_of(job: Job) -> str:
    """The semaphore's key for a keyed job's key."""
    return task_key(job.lane, job.delivery.task.key or "")
