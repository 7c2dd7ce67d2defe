"""An app whose settings name a broker that is not there: whatever leaves the process fails."""

from __future__ import annotations

from typing import Any

from xqueue_core import XQueue

#: No backend has this name, so that the first connection is refused.
ELSEWHERE = "nowhere://broker.invalid:1"


def an_app(**settings: Any) -> XQueue:
    """An app that works only while it is tested."""
    return XQueue(ELSEWHERE, **settings)


def hows(ran: Any) -> list[str]:
    """How each attempt ended."""
    return [run.how for run in ran]
