"""All permits of this worker, of lanes and of keys: renewed together, released in batches."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from xqueue_core.errors import BrokerError
from xqueue_core.permits import Keep, Permit, Renewed, Request
from xqueue_core.worker.grip import Grip
from xqueue_core.worker.options import WorkerOptions
from xqueue_core.worker.tools import Backoff, Term, Tools

if TYPE_CHECKING:
    from xqueue_core.abc import Semaphore

logger = logging.getLogger("xqueue.worker")


class PermitDesk:
    """Every permit that was granted and not yet released, by its request's id."""

    def __init__(
        self, semaphore: Semaphore | None, worker: str, options: WorkerOptions, tools: Tools
    ) -> None:
        self.worker = worker
        self._semaphore = semaphore
        self._options = options
        self._tools = tools
        self._backoff = Backoff(tools)
        self._numbers = itertools.count(1)
        self._held: dict[str, Grip] = {}
        self._returning: list[Permit] = []
        self._wake = asyncio.Event()
        # Renewed twice as often as the worker's own lease; else the same rule holds for both.
        self._term = Term(options.lease - options.margin)

    def new_id(self) -> str:
        """An id for a new request."""
        return f"{self.worker}:{next(self._numbers)}"

    def fresh(self) -> bool:
        """True while what is held is known to be ours."""
        return self._semaphore is None or self._term.fresh(self._tools.clock())

    def granted(self, request: Request, token: int, lane: str) -> Grip:
        """A request was granted."""
        grip = Grip(Permit(id=request.id, key=request.key, token=token), lane, self._term)
        self._held[request.id] = grip
        return grip

    def release(self, grip: Grip) -> None:
        """Give a permit back soon."""
        if self._held.pop(grip.permit.id, None) is not None:
            self._returning.append(grip.permit)
            self._wake.set()

    def withdraw(self, request: Request) -> None:
        """Leave the line, or give back what was granted meanwhile."""
        self._returning.append(Permit(id=request.id, key=request.key))
        self._wake.set()

    async def renew(
        self, watch: Sequence[str], told: Callable[[Grip, Keep], None]
    ) -> Mapping[str, int]:
        """Renew everything once; answers the versions of the watched limits.

        ``told`` is called for each permit that must be yielded or was lost.
        """
        if self._semaphore is None:
            return {}
        grips = list(self._held.values())
        sent = self._tools.clock()
        renewed: Renewed = await self._semaphore.renew(
            self.worker, [grip.permit for grip in grips], watch, self._options.lease
        )
        for grip, keep in zip(grips, renewed.permits, strict=True):
            if keep is Keep.KEPT or grip.permit.id not in self._held:
                continue
            if keep is Keep.LOST:
                del self._held[grip.permit.id]
                grip.lost = True
            else:
                grip.yielding = True
            told(grip, keep)
        self._term.acknowledged(sent)
        return renewed.versions

    async def run(self, released: Callable[[Sequence[Permit]], None]) -> None:
        """Give permits back until cancelled; ``released`` hears of each batch."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._returning:
                await self._return(released)

    async def flush(self) -> None:
        """Give back all that is still held, at the end; one try."""
        self._returning.extend(grip.permit for grip in self._held.values())
        self._held.clear()
        if self._returning and self._semaphore is not None:
            await self._semaphore.release(self._returning)

    async def _return(self, released: Callable[[Sequence[Permit]], None]) -> None:
        if self._semaphore is None:
            self._returning.clear()
            return
        batch = self._returning[:500]
        try:
            await self._semaphore.release(batch)
        except Exception as error:
            if not isinstance(error, BrokerError):
                logger.exception("releasing permits failed in an unexpected way")
            await self._backoff.wait()
            return
        self._backoff.reset()
        del self._returning[: len(batch)]
        released(batch)
