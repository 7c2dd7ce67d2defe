"""What a worker tells the semaphore of its lanes' limits, and again if that was lost."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from xqueue_core.errors import Unavailable
from xqueue_core.worker.lane import Lane
from xqueue_core.worker.options import WorkerOptions
from xqueue_core.worker.permits import PermitDesk
from xqueue_core.worker.tools import Tools

if TYPE_CHECKING:
    from xqueue_core.abc import Semaphore
    from xqueue_core.calls import Beat

logger = logging.getLogger("xqueue.worker")

#: A limit that nobody changes or removes: if its version is another one, all was lost.
KEPT = "kept"


class Declaring:
    """Declares the limits of lanes, and notices when the semaphore has lost them."""

    def __init__(
        self,
        semaphore: Semaphore | None,
        permits: PermitDesk,
        lanes: Collection[Lane],
        options: WorkerOptions,
        tools: Tools,
    ) -> None:
        self._semaphore = semaphore
        self._permits = permits
        self._lanes = lanes
        self._heartbeat = options.heartbeat
        self._clock = tools.clock
        self._kept: int | None = None  # version of the limit that is kept, once all is declared
        self._again: float | None = None  # when to declare again, since all was lost

    @property
    def kept(self) -> int:
        """The version of the limit that is kept, as this worker saw it last; 0 if it has not.

        When a worker sees another one, it registers what it runs before it takes that as its own.
        """
        return self._kept or 0

    async def begin(self, others: Collection[Beat]) -> None:
        """Declare for the first time, while these workers live.

        If the semaphore has lost its data and one of them has yet to see it, what that runs is not
        counted. A worker that starts has seen no loss, but they have told another version.
        Raises Unavailable as long as they are to notice by an answer that no permit is needed.
        """
        if self._semaphore is None:
            return
        [kept] = await self._semaphore.inspect([KEPT])
        behind = [one.heartbeat for one in others if one.counted not in (0, kept.version)]
        now = self._clock()
        if behind and self._again is None:
            heartbeat = max(self._heartbeat, *behind)
            self._again = now + heartbeat
            self._permits.hush(now + 2 * heartbeat)
        if behind and self._again is not None and now < self._again and kept.limit is None:
            raise Unavailable("it has lost its data just now")
        await self.declare()

    async def declare(self) -> None:
        """Say each lane's limit, none included; the last worker to start wins."""
        if self._semaphore is None:
            return
        # Looked at first: a loss while the lanes are declared, or later, changes it.
        kept = await self._keep(self._semaphore)
        for lane in self._lanes:
            await self._semaphore.set_limit(lane.key, lane.declared, pinned=False)
        self._kept, self._again = kept, None

    async def _keep(self, semaphore: Semaphore) -> int:
        """The version of the limit that is kept; it is set if there is none."""
        [kept] = await semaphore.inspect([KEPT])
        if kept.limit is None:
            await semaphore.set_limit(KEPT, 1, pinned=False)
            [kept] = await semaphore.inspect([KEPT])
        return kept.version

    async def forgotten(self, versions: Mapping[str, int]) -> bool:
        """True if the semaphore has lost its data, which is then told again, by every worker.

        For a heartbeat nothing is: by then all who live have noticed. Then limits are declared;
        for another heartbeat nobody asks for anything, so that what runs is counted first.
        """
        version = versions.get(KEPT)
        if version is None or self._kept is None:
            return False
        if version and version == self._kept:
            return False
        now = self._clock()
        if self._again is None:
            logger.warning("the semaphore has lost its data: limits will be declared again")
            self._again = now + self._heartbeat
            self._permits.hush(now + 2 * self._heartbeat)
        elif now >= self._again:
            await self.declare()
        return True
