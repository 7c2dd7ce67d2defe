"""What a worker tells the semaphore of its lanes' limits, and again if that was lost."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from xqueue_core.errors import BrokerError, Unavailable
from xqueue_core.worker.lane import Lane
from xqueue_core.worker.options import WorkerOptions
from xqueue_core.worker.permits import PermitDesk
from xqueue_core.worker.tools import Tools

if TYPE_CHECKING:
    from xqueue_core.abc import Semaphore, TaskView
    from xqueue_core.calls import Beat

logger = logging.getLogger("xqueue.worker")

#: A limit that nobody changes or removes: if its version is another one, all was lost.
KEPT = "kept"

#: Answers the last heartbeats of the other workers that live.
Others = Callable[[], Awaitable[Sequence["Beat"]]]


def others(view: TaskView | None, worker: str) -> Others:
    """By the view; where there is none nobody is known."""

    async def beats() -> Sequence[Beat]:
        infos = await view.workers() if view is not None else ()
        return [one.beat for one in infos if one.alive and one.beat.worker != worker]

    return beats


class Declaring:
    """Declares the limits of lanes, and notices when the semaphore has lost them.

    After a loss what runs must be counted before anybody is granted anything. So nothing is
    declared for a heartbeat: by then all who live have noticed, because nobody takes a permit
    who has not renewed for so long. And nothing is asked for before every living worker has told,
    by its heartbeat, that what it runs is counted again; or for two heartbeats, where nobody can
    be asked for that, and for a lease at most: who cannot reach the semaphore for so long holds
    no permit. Who dies meanwhile is waited for a heartbeat longer: renewals are made more often
    than heartbeats, so that permits may last longer than the worker by the queue's count.

    Attributes:
        told: the version of the limit that is kept under which all that runs here is counted; 0
            before the first time.
    """

    def __init__(
        self,
        semaphore: Semaphore | None,
        permits: PermitDesk,
        lanes: Collection[Lane],
        options: WorkerOptions,
        tools: Tools,
        others: Others,
    ) -> None:
        self._semaphore = semaphore
        self._permits = permits
        self._lanes = lanes
        self._options = options
        self._clock = tools.clock
        self._others = others
        self.told = 0
        self._kept: int | None = None  # version of the limit that is kept, once all is declared
        self._under: int | None = None  # the version under which ``_left`` is to be declared yet
        self._left: list[Lane] = []
        self._again: float | None = None  # when to declare again, since all was lost
        self._life = 0  # version of the limit that is kept, as it was when the loss was noticed
        self._waits: float | None = None  # until when to wait for others at most, after a loss
        self._alive: Sequence[Beat] = ()  # the others, as they were at the last look
        self._lapses = float("-inf")  # until when one that has died since may hold a permit

    # -- declaring -----------------------------------------------------------------------------

    async def begin(self) -> None:
        """Declare for the first time.

        A worker that starts has seen no loss; that there was one is told by others, which know
        another version. Raises Unavailable as long as they may not have noticed.
        """
        if self._semaphore is None:
            return
        kept = await self._keep(self._semaphore)
        behind = _behind(await self._look(kept), kept)
        if behind and not self._noticed(behind):
            raise Unavailable("it has lost its data just now")
        # Under that very version: of a loss since, nobody has been asked whether he has noticed.
        await self._declare(self._semaphore, kept)

    async def _declare(self, semaphore: Semaphore, kept: int) -> None:
        """Say each lane's limit, none included; the last worker to start wins.

        Cut off, it goes on where it was. Raises Unavailable if ``kept``, the version of the limit
        that is kept, is not what is there: a loss while the lanes are declared, or later, is
        noticed by it.
        """
        if self._under != kept:
            self._left = await self._undeclared(semaphore, kept)
            self._under, self._kept = kept, 0  # all is not declared under it yet
        while self._left:
            lane = self._left[-1]
            await semaphore.set_limit(lane.key, lane.declared, pinned=False)
            self._left.pop()
        self._kept, self._again = kept, None

    async def _undeclared(self, semaphore: Semaphore, kept: int) -> list[Lane]:
        """The lanes whose limit must be told.

        One that is there already is not: if all is lost just now, that would grant it to others
        who have not noticed, while what runs is not counted.
        """
        still, *infos = await semaphore.inspect([KEPT, *(lane.key for lane in self._lanes)])
        if still.version != kept:
            raise Unavailable("it has lost its data just now")
        return [
            lane
            for lane, info in zip(self._lanes, infos, strict=True)
            if info.pinned or info.limit != lane.declared
        ]

    async def _keep(self, semaphore: Semaphore) -> int:
        """The version of the limit that is kept; it is set if there is none."""
        [kept] = await semaphore.inspect([KEPT])
        if kept.limit is None:
            await semaphore.set_limit(KEPT, 1, pinned=False)
            [kept] = await semaphore.inspect([KEPT])
        return kept.version

    # -- after a loss --------------------------------------------------------------------------

    async def forgotten(self, versions: Mapping[str, int]) -> bool:
        """True if the semaphore has lost its data, which is then told again, by every worker."""
        version = versions.get(KEPT)
        if version is None or self._kept is None or self._semaphore is None:
            return False
        if version and version == self._kept:
            self._again = None
            if self._waits is not None:
                await self._heed(self._waits, self._kept)
            return False
        self._permits.hush(self._clock() + self._options.heartbeat)
        beats = await self._known(0)
        self._permits.hush(self._clock() + self._options.heartbeat)
        if version and self._life not in (0, version):
            self._again = None  # lost once more since it was noticed: of that nobody knows yet
        if self._again is None:
            self._life = version
        if self._noticed(beats or ()):
            kept = await self._keep(self._semaphore)
            if version and kept != version:
                self._again = None  # and once more since this renewal
            else:
                await self._declare(self._semaphore, kept)
        return True

    def interrupted(self) -> None:
        """A renewal failed: what is there after that may have been lost once more."""
        self._again = None

    def counts(self) -> None:
        """All that runs here is counted."""
        self.told = self._kept or self.told

    def _noticed(self, beats: Collection[Beat]) -> bool:
        """True once all of these have had a heartbeat to notice; it begins with the first call."""
        now = self._clock()
        if self._again is None:
            logger.warning(
                "the semaphore has lost its data: limits will be declared again, and nothing "
                "starts under one before all workers have told what they run"
            )
            heartbeat = max([self._options.heartbeat, *(one.heartbeat for one in beats)])
            self._again, self._under = now + heartbeat, None
            self._permits.hush(now + 2 * heartbeat)
            self._waits = now + max([self._options.lease, *(one.lease for one in beats)])
        return now >= self._again

    async def _heed(self, until: float, kept: int) -> None:
        """Go on asking for nothing while there are others whose runs may not be counted."""
        beats, now = await self._known(kept), self._clock()
        told = beats is not None and not _behind(beats, kept) and now >= self._lapses
        if told or now >= until:
            self._waits = None
        else:
            self._permits.hush(self._clock() + self._options.heartbeat)

    async def _known(self, kept: int) -> Sequence[Beat] | None:
        """The others' last heartbeats; None if they cannot be had now."""
        try:
            return await self._look(kept)
        except BrokerError:
            return None

    async def _look(self, kept: int) -> Sequence[Beat]:
        """The same, and remember whose permits may outlast him; raises what the view raises."""
        before, self._alive = self._alive, await self._others()
        living = {beat.worker for beat in self._alive}
        for beat in _behind(before, kept):
            if beat.worker not in living:
                self._lapses = max(self._lapses, self._clock() + beat.heartbeat)
        return self._alive


def _behind(beats: Collection[Beat], kept: int) -> list[Beat]:
    """Those that know another version; one that has told none has begun nothing yet."""
    return [one for one in beats if one.counted not in (0, kept)]
