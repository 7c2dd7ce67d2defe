"""A permit in this worker's hands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from xqueue_core.permits import Permit
    from xqueue_core.worker.job import Job
    from xqueue_core.worker.tools import Term


@dataclass(slots=True, eq=False)
class Grip:
    """One permit, the job it serves if any, and whether it must not serve another."""

    permit: Permit
    lane: str
    term: Term  # of all this worker's permits
    since: float = 0.0  # when it was granted or last used, by the worker's clock
    job: Job | None = None
    named: bool = False  # a renewal that was sent since has said that it is kept
    yielding: bool = False
    lost: bool = False

    def good(self, now: float) -> bool:
        """True while something may start under it; asked on both sides of the crossing."""
        return not self.lost and self.term.fresh(now)

    def told(self, now: float) -> Permit:
        """The permit, and for how long nothing has run under it."""
        if self.job is not None and self.job.started:
            return self.permit
        return msgspec.structs.replace(self.permit, idle=max(0.0, now - self.since))
