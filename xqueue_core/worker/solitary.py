"""Runs a task alone in this process when it may have killed its workers before.

It starts only when nothing else is here, and everything that was here has been recorded: should
it take this process along, no neighbour is charged with the loss.
"""

from __future__ import annotations

from collections.abc import Callable

from xqueue_core.task import AnyOutcome, HandBack
from xqueue_core.worker.desk import Desk
from xqueue_core.worker.job import Job


class Solitary:
    """At most one such job at a time; while there is one, nothing else is fetched.

    Args:
        patience: how long it waits for what runs here to end (seconds); then another worker
            may be free sooner.
        start: lets it through.
        refuse: takes a job that does not start, and its outcome.
    """

    def __init__(
        self,
        desk: Desk,
        patience: float,
        clock: Callable[[], float],
        start: Callable[[Job], None],
        refuse: Callable[[Job, AnyOutcome], None],
    ) -> None:
        self._desk = desk
        self._patience = patience
        self._clock = clock
        self._start = start
        self._refuse = refuse
        self._waiting: Job | None = None
        self._running: Job | None = None
        self._since = 0.0

    @property
    def busy(self) -> bool:
        """True while such a job waits or runs."""
        return self._waiting is not None or self._running is not None

    def admit(self, job: Job) -> None:
        """Such a job has come, and there is no other. What has not started is to go back."""
        self._waiting = job
        self._since = self._clock()

    def withdraw(self, job: Job) -> bool:
        """It must not start. False if it is not waiting."""
        if job is not self._waiting:
            return False
        self._waiting = None
        return True

    def ended(self, job: Job) -> None:
        """A job has ended."""
        if job is self._running:
            self._running = None

    def look(self) -> None:
        """Something changed, or time has passed: start it, or give up waiting."""
        job = self._waiting
        if job is None:
            return
        if len(self._desk.active) == 1 and not self._desk.settling:
            self._waiting, self._running = None, job
            self._start(job)
        elif self._clock() - self._since > self._patience:
            self._waiting = None
            self._refuse(job, HandBack(reason="others run here", unable="alone"))
