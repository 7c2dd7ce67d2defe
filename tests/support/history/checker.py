"""Decides about a run from its history alone: pure functions over events.

It never takes the system's word as an excuse. What the system says (states, histories, ledger,
who is dead) can only accuse it; what excuses is the harness's log of what it did, and the
hand-back lines that workers wrote before they told the broker.
"""

from __future__ import annotations

from collections.abc import Iterable

from support.history import attempts, causes, deaths, ends, limits, starts
from support.history.events import AnyEvent
from support.history.story import Story, Terms, tell
from support.history.verdicts import Report

__all__ = ["Report", "Story", "Terms", "check", "tell"]


def check(events: Iterable[AnyEvent], terms: Terms, *, ahead: int = 1000) -> Report:
    """Every decision about these events, in whatever order they come.

    Args:
        terms: what the workers were set to.
        ahead: slots and prefetch of all workers together, for the order of priorities.
    """
    story = tell(events, terms)
    verdicts = [
        ends.lost(story),
        ends.phantom(story),
        causes.caused(story),
        starts.doubled(story),
        attempts.attempts(story),
        starts.early(story),
        starts.cancels(story),
        starts.paused(story),
        limits.over_limit(story),
        limits.out_of_order(story, ahead),
        deaths.dead_untouched(story),
        deaths.worker_lost(story),
        ends.conserved(story),
    ]
    return Report({one.name: one for one in verdicts})
