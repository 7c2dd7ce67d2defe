"""Renews permits, and carries out what the semaphore says about them and about limits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from xqueue_core.permits import Grant, Keep, Request
from xqueue_core.worker.desk import Desk
from xqueue_core.worker.grip import Grip
from xqueue_core.worker.job import Job, Recall, Stage
from xqueue_core.worker.limiter import Limiter
from xqueue_core.worker.permits import PermitDesk

if TYPE_CHECKING:
    from xqueue_core.abc import Semaphore


class Renewal:
    """One :meth:`renew` every half heartbeat. ``recall`` takes words to the executor."""

    def __init__(
        self,
        semaphore: Semaphore | None,
        permits: PermitDesk,
        limiter: Limiter,
        desk: Desk,
        recall: Callable[[Recall], None],
    ) -> None:
        self._semaphore = semaphore
        self._permits = permits
        self._limiter = limiter
        self._desk = desk
        self._recall = recall
        self._uncounted: dict[Job, Request] = {}  # run in limited lanes, without an answer yet

    async def renew(self) -> None:
        """Renew permits and look at the limits, once. Raises what the semaphore raises."""
        versions = await self._permits.renew(self._limiter.keys, self._told)
        self._limited(self._limiter.seen(versions))
        await self._register()
        self._limiter.open()

    def _told(self, grip: Grip, keep: Keep) -> None:
        job = grip.job
        if job is None:
            self._limiter.dropped(grip)
            if keep is Keep.YIELD:
                self._permits.release(grip)
        elif not job.started:
            self._recall(Recall("permit", job=job))

    def _limited(self, lanes: Sequence[str]) -> None:
        """First sight of a limit: what runs already counts; what has not started goes back."""
        for lane in lanes:
            self._recall(Recall("limited", lane=lane))
        for job in self._desk.active:
            if job.lane in lanes and job.permit is None and job not in self._uncounted:
                self._uncounted[job] = self._limiter.register(job)

    async def _register(self) -> None:
        """Have counted what runs without a permit: the same requests until they are answered."""
        for job, request in list(self._uncounted.items()):
            if job.stage is Stage.ENDED:  # an answer that was lost may have granted it
                del self._uncounted[job]
                self._permits.withdraw(request)
        asked = list(self._uncounted.items())
        if not asked or self._semaphore is None:
            return
        try:
            answers = await self._semaphore.acquire([request for _, request in asked], 0.0)
        except asyncio.CancelledError:
            for _, request in asked:  # the worker ends: what this granted must not outlive it
                self._permits.withdraw(request)
            raise
        for (job, request), answer in zip(asked, answers, strict=True):
            del self._uncounted[job]
            if answer.grant is not Grant.GRANTED:
                continue
            grip = self._permits.granted(request, answer.token, job.lane)
            if job.stage is Stage.ENDED:
                self._permits.release(grip)
            else:
                self._limiter.registered(job, grip)
