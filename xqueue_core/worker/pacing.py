"""Looks at how busy a worker is, once a second; its slots follow, and whoever asked is told."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import NamedTuple

from xqueue_core.worker.desk import SCARCE
from xqueue_core.worker.engine import Engine
from xqueue_core.worker.job import Resize
from xqueue_core.worker.scaler import HIGH, INTERVAL, Load, Scaler

#: How often the handlers' loop is asked within one look.
ASKED = 4


class Busy(NamedTuple):
    """How busy a worker is, for its supervisor or its host."""

    slots: int  # at present
    share: float  # part of its room that is in use: 0 to 1
    saturated: bool  # another process would find work that this one has no room for


class Pacing:
    """One of the engine's duties; it sees the handlers' loop through the crossing alone."""

    def __init__(self, engine: Engine, tell: Callable[[Busy], None] | None) -> None:
        self._engine = engine
        least, most = engine.options.min_concurrency, engine.options.concurrency
        self._scaler = None if least is None else Scaler(least, most)
        self._tell = tell
        self._asked: float | None = None  # when the loop was, if it has not answered
        self._late = 0.0  # by how much it was at its last answer

    async def run(self) -> None:
        """Look until cancelled."""
        engine = self._engine
        while True:
            lags: list[float] = []
            used = 0
            crowded = False
            for _ in range(ASKED):
                self._ask()
                await engine.tools.sleep(INTERVAL / ASKED)
                lags.append(self._lag())
                used = max(used, min(len(engine.desk.active), engine.desk.slots))
                crowded = crowded or self._crowded()
            more = engine.more or len(engine.desk.active) > engine.desk.slots
            load = Load(engine.desk.slots, used, more, statistics.median(lags))
            self._follow(load)
            if self._tell is not None:
                self._tell(self._busy(load, crowded))

    def _follow(self, load: Load) -> None:
        scaler = self._scaler
        if scaler is not None and not self._engine.fixed:
            slots = scaler.next(load)
            if slots != load.slots:
                self._engine.resize(slots)

    def _busy(self, load: Load, crowded: bool) -> Busy:
        # Slots that will yet grow are no reason for another process.
        spent = self._scaler is None or self._engine.fixed or self._scaler.spent
        full = load.more and load.used >= load.slots and (spent or load.lag >= HIGH)
        share = 1.0 if crowded else load.used / load.slots
        return Busy(self._engine.desk.slots, share, full or crowded)

    def _crowded(self) -> bool:
        """True if no more work can come for want of threads or children."""
        desk = self._engine.desk
        return desk.room > 0 and any(not desk.room_of(kind) for kind in SCARCE)

    def _ask(self) -> None:
        if self._asked is None:
            self._asked = self._engine.tools.clock()
            self._engine.send(Resize(self._engine.desk.slots, self._answered))

    def _answered(self) -> None:
        """On the handlers' loop."""
        asked = self._asked
        if asked is not None:
            self._late = self._engine.tools.clock() - asked
            self._asked = None

    def _lag(self) -> float:
        asked = self._asked
        return self._late if asked is None else self._engine.tools.clock() - asked
