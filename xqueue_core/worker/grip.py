"""A permit in this worker's hands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xqueue_core.permits import Permit
    from xqueue_core.worker.job import Job


@dataclass(slots=True, eq=False)
class Grip:
    """One permit, the job it serves if any, and whether it must not serve another."""

    permit: Permit
    lane: str
    job: Job | None = None
    yielding: bool = False
    lost: bool = False
