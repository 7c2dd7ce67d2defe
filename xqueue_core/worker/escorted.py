"""Plugins around handlers in child processes: there is no coroutine here that runs them."""

from __future__ import annotations

import contextvars
from collections.abc import Callable

from xqueue_core.task import AnyOutcome, Failed, RetryAt, TimedOut
from xqueue_core.worker.bodies import FailedElsewhere
from xqueue_core.worker.coroutines import Ended
from xqueue_core.worker.job import Job
from xqueue_core.worker.runner import Runner
from xqueue_core.worker.told import Runs, Visit


class Escorted:
    """A :class:`~xqueue_core.worker.runner.Runner` that tells plugins of what another one runs.

    Args:
        make: makes the other one.
        fresh: makes the context in which plugins enter and leave one run.
    """

    def __init__(
        self,
        make: Callable[[Ended, Callable[[], None]], Runner],
        ended: Ended,
        look: Callable[[], None],
        runs: Runs,
        fresh: Callable[[], contextvars.Context],
    ) -> None:
        self._ended = ended
        self._runs = runs
        self._fresh = fresh
        self._visits: dict[Job, tuple[contextvars.Context, Visit]] = {}
        self._inner = make(self._back, look)

    @property
    def free(self) -> int:
        """As the other one."""
        return self._inner.free

    def start(self, job: Job) -> None:
        """Tell, then start it."""
        context = self._fresh()
        self._visits[job] = context, context.run(self._runs.enter, job)
        self._inner.start(job)

    def tell(self, job: Job) -> None:
        """Passed on."""
        self._inner.tell(job)

    def close(self) -> None:
        """Passed on."""
        self._inner.close()

    def _back(self, job: Job, outcome: AnyOutcome | None) -> None:
        context, visit = self._visits.pop(job)
        if isinstance(outcome, Failed | RetryAt | TimedOut):
            visit.error = FailedElsewhere(job.id, outcome)
        context.run(visit.leave, outcome)
        self._ended(job, outcome)
