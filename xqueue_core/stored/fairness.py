"""Whose turn it is: highest priority first, one in sixteen from below, lanes in turn (P2.3)."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from typing import TypeVar

from xqueue_core.stored.layout import Turn, TurnRow, level_of
from xqueue_core.stored.records import Row

#: Of this many leases made while a lower level waits, exactly one is of a lower level.
TURN_EVERY = 16

T = TypeVar("T")


def pick(rows: Iterable[Row], limit: int, turn: Turn) -> tuple[list[Row], Turn]:
    """Up to ``limit`` rows of one lane's ``ready`` bucket in the order in which to lease them.

    ``rows`` must hold the first ``limit`` of the bucket and, for each level behind them, one
    more than could get a turn, so that it is seen to wait. Returns the worker's new turn record
    too.
    """
    levels: dict[int, deque[Row]] = {}
    for row in rows:
        levels.setdefault(level_of(row.order), deque()).append(row)
    if len(levels) == 1:
        return list(next(iter(levels.values())))[:limit], turn
    turn = Turn(turn.count, dict(turn.last))
    taken: list[Row] = []
    while levels and len(taken) < limit:
        top = max(levels)
        level = top
        if len(levels) > 1:
            turn.count += 1
            if turn.count % TURN_EVERY == 0:
                level = min((n for n in levels if n != top), key=lambda n: (turn.last.get(n, 0), n))
                turn.last[level] = turn.count
        queue = levels[level]
        taken.append(queue.popleft())
        if not queue:
            del levels[level]
    return taken, turn


def in_turn(lanes: Mapping[str, Sequence[T]], after: str, limit: int) -> list[tuple[str, T]]:
    """One from each lane in turn, beginning with the lane behind ``after``, up to ``limit``."""
    names = sorted(lanes)
    first = next((i for i, name in enumerate(names) if name > after), 0)
    queues = {name: deque(lanes[name]) for name in names[first:] + names[:first]}
    taken: list[tuple[str, T]] = []
    while queues and len(taken) < limit:
        for name in list(queues):
            if not queues[name]:
                del queues[name]
            elif len(taken) < limit:
                taken.append((name, queues[name].popleft()))
    return taken


def advanced(row: TurnRow, call: int, lane: str, turns: Mapping[str, Turn]) -> TurnRow:
    """The worker's turn record after a call that served these lanes, ``lane`` last."""
    new = copy(row)
    new.call, new.lane = call, lane
    new.lanes = {**row.lanes, **turns}
    return new
