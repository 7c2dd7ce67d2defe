"""The lanes of which nothing is fetched: paused ones, and all while handlers cannot be started."""

from __future__ import annotations

import logging
from collections.abc import Set
from typing import TYPE_CHECKING

from xqueue_core.task import HandBack
from xqueue_core.worker import report
from xqueue_core.worker.job import Recall, Stage

if TYPE_CHECKING:
    from xqueue_core.worker.engine import Engine

logger = logging.getLogger("xqueue.worker")


class Pauses:
    """What heartbeats tell of pauses, and what the watch tells of the handlers' event loop."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._told: frozenset[str] = frozenset()
        #: True while a handler blocks the loop that all handlers run on.
        self.blocked = False

    def told(self, lanes: Set[str]) -> None:
        """These lanes, and no others, are paused."""
        for lane in lanes:
            self._engine.send(Recall("paused", lane=lane))
            self._engine.withdraw("paused", lane)
        self._told = frozenset(lanes)
        self._apply()

    def blocks(self, blocked: bool) -> None:
        """The handlers' loop does not answer, or does again.

        While it does not nothing is fetched, and whatever has not started goes to other workers,
        uncharged, and its permits with it.
        """
        self.blocked = blocked
        self._apply()
        if not blocked:
            return
        self._engine.withdraw("blocked", None)
        waiting = [job for job in self._engine.desk.active if job.stage is Stage.CROSSED]
        back = [job for job in waiting if job.claim()]
        if back:
            logger.info("handing back (the event loop is blocked) %s", report.listed(back))
        for job in back:
            self._engine.finish(job, HandBack(reason="blocked"))

    def _apply(self) -> None:
        engine = self._engine
        paused = frozenset(engine.lanes) if self.blocked else self._told
        if paused == engine.fetcher.paused:
            return
        engine.fetcher.paused = paused
        engine.limiter.paused(paused)
        engine.bare(paused.issuperset(engine.lanes))
        engine.fetcher.poke()
