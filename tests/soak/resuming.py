"""How long it took until workers went on after the broker had been out of everybody's reach."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from support.history.events import Born
from support.history.story import Story

if TYPE_CHECKING:
    from soak.fleet import Leaver

#: A process that could not open its broker has ended so long after that (seconds).
ENDS = 1.0
#: So long after the broker's first answer each worker has started something (seconds).
WITHIN = 3.0


@dataclass(slots=True, frozen=True)
class Resumption:
    """A worker's first start after an outage that it lived through; inf if there was none."""

    worker: str
    since: float
    delay: float

    def __str__(self) -> str:
        return (
            f"{self.worker} started nothing until {self.delay:.3f} s after the broker's first "
            f"answer at {self.since:.3f}"
        )


def resumptions(story: Story) -> list[Resumption]:
    """Of every outage and every worker that was there before, and was not struck itself."""
    born = {one.worker: one.at for one in reversed(story.events) if isinstance(one, Born)}
    found = []
    for begin, end, _ in sorted(story.cuts[""]):
        for worker, at in born.items():
            if at < begin and not _struck(story, worker, begin, end + WITHIN):
                found.append(Resumption(worker, end, _first(story, worker, end) - end))
    return found


def _struck(story: Story, worker: str, begin: float, end: float) -> bool:
    """True if it was killed before, or killed or stopped within this time."""
    return any(one < end and until > begin for one, until, _ in story.cuts[worker])


def _first(story: Story, worker: str, since: float) -> float:
    starts = (run.start.at for run in story.runs if run.worker == worker)
    return min((at for at in starts if at > since), default=math.inf)


def found_no_broker(story: Story, leaver: Leaver) -> bool:
    """True if it ended with an error because there was no broker when it started, as it should.

    Whoever has begun to work waits for the broker.
    """
    began = any(isinstance(one, Born) and one.pid == leaver.pid for one in story.events)
    out = any(begin <= leaver.at <= end + ENDS for begin, end, _ in story.cuts[""])
    return out and not began and leaver.code == 69
