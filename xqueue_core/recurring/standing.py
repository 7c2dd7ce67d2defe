"""Where a schedule stands, as a broker keeps it, and what changes it: pure, for every backend.

Two things happen to a schedule. Workers *announce* the rule they declare it with: at their start,
and every few seconds from then on. And they put tasks that carry a slot, which *fires* it. See
``docs/decisions/0006-recurring.md`` for why the version is counted here.
"""

from __future__ import annotations

import msgspec

from xqueue_core.calls import Announce, Did, Verdict
from xqueue_core.task import Slot

#: An announcement that changes nothing is noted if the last one is older (seconds).
NOTED = 5.0
#: Earlier rules that a schedule remembers.
FORMER = 8


class Standing(msgspec.Struct, array_like=True):
    """The rule in force and its version, its last slot, and when it was last announced or fired.

    ``former`` are the rules that were in force before, oldest first. A rule that is taken up
    again takes those that came after it out of them: whichever is declared again is a new one.
    ``fired`` is the last slot that came to a task, 0 before the first; of what an earlier version
    has recorded it is None until the next.
    """

    version: int
    last: float
    rule: str = ""
    seen: float = 0.0
    former: list[str] = []
    fired: float | None = None


def announced(
    standing: Standing | None, said: Announce, now: float
) -> tuple[Standing | None, Verdict]:
    """The standing after an announcement, None if it is as it was; and the answer."""
    start = min(said.after or now, now)
    if standing is None:
        return _told(Standing(1, start, said.rule, now, fired=0.0))
    if standing.rule == said.rule:
        verdict = Verdict(Did.APPLIED, count=standing.version, at=standing.last)
        if abs(now - standing.seen) < NOTED:
            return None, verdict
        return msgspec.structs.replace(standing, seen=now), verdict
    former = standing.former
    if said.rule not in former:
        before = [one for one in (*former, standing.rule) if one]
    elif standing.seen < said.unheard:
        before = former[: former.index(said.rule)]
    else:
        version, last = standing.version, standing.last
        return None, Verdict(Did.CONFLICT, of=standing.rule, count=version, at=last)
    last = max(standing.last, start)
    version = standing.version + 1
    return _told(Standing(version, last, said.rule, now, before[-FORMER:], standing.fired))


def fired(standing: Standing | None, slot: Slot, now: float) -> Standing | None:
    """The standing after a slot, fired or consumed; None if it is at or below the last one, or of
    an older version."""
    if standing is None:
        return Standing(slot.version, slot.at, seen=now, fired=slot.at)
    if slot.at <= standing.last or slot.version < standing.version:
        return None
    rule = standing.rule if slot.version == standing.version else ""
    return Standing(slot.version, slot.at, rule, now, standing.former, slot.at)


def _told(standing: Standing) -> tuple[Standing, Verdict]:
    return standing, Verdict(Did.APPLIED, count=standing.version, at=standing.last)
