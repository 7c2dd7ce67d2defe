"""Every kind of reason there is, as one type."""

from __future__ import annotations

from xqueue_core.why.limits import Behind, KeyLimit, LaneLimit
from xqueue_core.why.obstacles import Busy, CannotTell, NoWorker, Paused, Ready
from xqueue_core.why.reasons import (
    Due,
    Duplicate,
    Ended,
    Expiring,
    HandedBack,
    Lost,
    Moving,
    Quarantined,
    Unknown,
)
from xqueue_core.why.running import CancelRequested, Fetched, Overdue, Processing, Silent

AnyReason = (
    Behind
    | Busy
    | CancelRequested
    | CannotTell
    | Due
    | Duplicate
    | Ended
    | Expiring
    | Fetched
    | HandedBack
    | KeyLimit
    | LaneLimit
    | Lost
    | Moving
    | NoWorker
    | Overdue
    | Paused
    | Processing
    | Quarantined
    | Ready
    | Silent
    | Unknown
)
