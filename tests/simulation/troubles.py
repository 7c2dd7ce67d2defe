"""What befalls one worker, as the checker of histories is told of it."""

from __future__ import annotations

from collections.abc import Callable

from simulation.net import DEADLINE
from simulation.story import Story
from support.history.events import OutageBegan, OutageEnded

#: After its last trouble a worker needs so long to record what waits (seconds).
SETTLES = 2 * DEADLINE


class Troubles:
    """What keeps a worker from renewing its lease, told as one outage until it has renewed."""

    def __init__(
        self,
        story: Story,
        clock: Callable[[], float],
        worker: str,
        troubled: Callable[[float], bool],
    ) -> None:
        self._troubled = troubled
        self._story = story
        self._clock = clock
        self._worker = worker
        self._count = 0
        self._open = False

    def begin(self) -> None:
        """Something begins."""
        self._count += 1
        if not self._open:
            self._open = True
            self._story.note(OutageBegan(at=self._clock(), worker=self._worker))

    def end(self) -> None:
        """It is over."""
        self._count -= 1

    def renewed(self) -> None:
        """A heartbeat reached the broker; calls of before may hang a while longer."""
        if self._open and not self._count and not self._troubled(SETTLES):
            self._open = False
            self._story.note(OutageEnded(at=self._clock(), worker=self._worker))
