"""The production worker in a rehearsal: nothing is replaced but its clocks and its broker."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Mapping
from random import Random
from typing import TYPE_CHECKING, Any

from xqueue_core.testing.conductor import Conductor
from xqueue_core.testing.loop import VirtualLoop
from xqueue_core.worker.job import Stage
from xqueue_core.worker.tools import Tools
from xqueue_core.worker.worker import Worker

if TYPE_CHECKING:
    from xqueue_core.app import XQueue
    from xqueue_core.handlers import HandlerSpec
    from xqueue_core.recurring.schedule import Recurring
    from xqueue_core.settings import Settings
    from xqueue_core.testing.broker import Broker
    from xqueue_core.testing.clock import VirtualClock

#: Seconds. Nobody dies here, but somebody may look at a handler in a debugger for long; and
#: heartbeats, which bring the word that a running task was canceled, cost nothing.
TIMES: dict[str, Any] = {"lease": 86_400.0, "heartbeat": 0.25, "lease_wait": 5.0}


class InProcess:
    """An app as its worker is to see it at first: no handler is isolated.

    A child process would see neither what the test has replaced nor an app that was made in it.
    """

    def __init__(self, app: XQueue) -> None:
        self._app = app

    @property
    def handlers(self) -> Mapping[str, HandlerSpec]:
        """The declared types by name."""
        return {name: _in_process(spec) for name, spec in self._app.handlers.items()}

    def settings(self) -> Settings:
        """The app's."""
        return self._app.settings()


class Actor(Worker):
    """Works until its conductor says that it is done.

    Args:
        random: draws retries' delays.
        schedules: fire recurring schedules, too.
    """

    def __init__(
        self,
        app: XQueue,
        broker: Broker,
        clock: VirtualClock,
        conductor: Conductor,
        random: Random,
        *,
        schedules: bool,
    ) -> None:
        self._clock = clock
        self._conductor = conductor
        self._schedules = schedules
        self._over = self._alone = False
        seen: Any = InProcess(app)
        tools = Tools(
            clock=clock.steady, wall=clock.wall, random=random, raised=broker.notes.raised
        )
        super().__init__(
            seen, name="rehearsal", tools=tools, loop_factory=self._virtual_loop, **TIMES
        )
        self.app = app

    def _virtual_loop(self) -> asyncio.AbstractEventLoop:
        self._loop = VirtualLoop(self._clock, self._handlers_run, self._idle)
        return self._loop

    def _recurring(self) -> list[Recurring]:
        return super()._recurring() if self._schedules else []

    def _handlers_run(self) -> bool:
        engine = self._engine
        return engine is not None and any(job.stage is Stage.CROSSED for job in engine.desk.active)

    def _idle(self) -> None:
        """The engine has nothing to do."""
        self._loop.pass_time()
        engine, life = self._engine, self._life
        if engine is None or life is None or self._over:
            return
        if life.scheduler is not None and not self._alone:
            life.scheduler.alone()
            self._alone = True
        if self._conductor.done(engine, life.scheduler):
            self._over = True
            self.stop()


def _in_process(spec: HandlerSpec) -> HandlerSpec:
    if spec.isolation is None:
        return spec
    return dataclasses.replace(spec, isolation=None, max_memory=None)
