"""Plain functions without threads: each takes its time, then its body runs at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

from xqueue_core.context import Context
from xqueue_core.worker.bodies import Bodies
from xqueue_core.worker.job import Job, Stage


class SimThreads:
    """A :class:`~xqueue_core.worker.runner.Runner` in the place of the one with threads.

    Args:
        most: how many may run at once.
        later: calls in a thread, in so many seconds.
        soon: calls on the handlers' loop.
        bodies: makes contexts and outcomes.
        begun: told of each start; answers how long the function takes.
        told: told of each that is to end.
        ended: takes each job that ended, and its outcome.
    """

    def __init__(
        self,
        most: int,
        later: Callable[..., Any],
        soon: Callable[[Callable[[], None]], Any],
        bodies: Bodies,
        begun: Callable[[Context], float],
        told: Callable[[Context], None],
        ended: Callable[[Job, Any], None],
    ) -> None:
        self.free = most
        self._later = later
        self._soon = soon
        self._bodies = bodies
        self._begun = begun
        self._told = told
        self._ended = ended

    def start(self, job: Job) -> None:
        """A thread takes it soon."""
        self.free -= 1
        self._later(0.001, self._begin, job)

    def tell(self, job: Job) -> None:
        """It could see that from now on."""
        self._told(self._bodies.context(job))

    def close(self) -> None:
        """Nothing."""

    def _begin(self, job: Job) -> None:
        if job.stage is Stage.ENDED:
            outcome = self._bodies.raised(job, asyncio.CancelledError())
            self._soon(partial(self._end, job, outcome))
            return
        self._later(self._begun(self._bodies.context(job)), self._finish, job)

    def _finish(self, job: Job) -> None:
        outcome: Any
        try:
            outcome = self._bodies.returned(job, self._bodies.call(job))
        except BaseException as error:  # as the thread's own loop does
            outcome = self._bodies.raised(job, error)
        self._soon(partial(self._end, job, outcome))

    def _end(self, job: Job, outcome: Any) -> None:
        self.free += 1
        self._ended(job, outcome)
