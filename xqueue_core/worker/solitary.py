"""Runs a task alone in this process when it may have killed its workers before.

It starts only when nothing else is here, and everything that was here has been recorded: should
it take this process along, no neighbour is charged with the loss. Nor is the task itself while it
waits: every heartbeat says so, until one without that word was acknowledged (P1.1).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from xqueue_core.calls import Held, Hold
from xqueue_core.task import AnyOutcome, HandBack
from xqueue_core.worker.desk import Desk
from xqueue_core.worker.job import Job


class Solitary:
    """At most one such job at a time; while there is one, nothing else is fetched.

    It waits to be alone, then for the permit of its key, then for a heartbeat. One that waits for
    a permit of its lane is not here yet, and keeps nobody from working, however long that takes.

    Args:
        patience: how long it waits for what runs here to end (seconds); then another worker
            may be free sooner. Each time twice as long, until one has started, if all that runs
            here has a time-out: where all workers are busy with longer tasks, it would never run.
        enter: has :meth:`ready` called as soon as its key has a permit for it.
        start: lets it through.
        refuse: takes a job that does not start, and its outcome.
        beat: has a heartbeat sent at once.
        recorded: True if everything that was here has been, as far as there is hope for it.
    """

    def __init__(
        self,
        desk: Desk,
        patience: float,
        clock: Callable[[], float],
        enter: Callable[[Job], None],
        start: Callable[[Job], None],
        refuse: Callable[[Job, AnyOutcome], None],
        beat: Callable[[], None],
        recorded: Callable[[], bool],
    ) -> None:
        self._desk = desk
        self._least = self._patience = patience
        self._clock = clock
        self._enter = enter
        self._start = start
        self._refuse = refuse
        self._beat = beat
        self._recorded = recorded
        self._waiting: Job | None = None
        self._running: Job | None = None
        self._since = 0.0
        self._entered = False  # its key's permit was asked for
        self._ready = False  # it has it, or needs none

    @property
    def busy(self) -> bool:
        """True while such a job waits or runs."""
        return self._waiting is not None or self._running is not None

    def admit(self, job: Job) -> None:
        """Such a job has come, and there is no other. What has not started is to go back."""
        self._waiting = job
        self._desk.solitary = True
        self._since = self._clock()
        self._entered = self._ready = False
        self._beat()  # from then on its wait is known

    def withdraw(self, job: Job) -> bool:
        """It must not start. False if it is not waiting."""
        if job is not self._waiting:
            return False
        self._waiting = None
        self._desk.solitary = self.busy
        job.waits = True  # it never started, and will not
        return True

    def ended(self, job: Job) -> None:
        """A job has ended."""
        self.withdraw(job)
        if job is self._running:
            self._running = None
            self._desk.solitary = False

    def ready(self, job: Job) -> None:
        """It may start as soon as it is alone and a heartbeat has said so."""
        if job is self._waiting:
            self._ready = True
            self.look()

    def look(self) -> None:
        """Something changed, or time has passed: bring it on, or give up waiting."""
        job = self._waiting
        if job is None:
            return
        if not self._alone():
            job.waits = True
            asking = self._entered and not self._ready
            if not asking and self._clock() - self._since > self._patience:
                self.withdraw(job)
                bounded = all(
                    one.delivery.task.process_timeout is not None
                    for one in self._desk.active
                    if one is not job
                )
                self._patience = max(1.0, 2 * self._patience) if bounded else self._least
                self._refuse(job, HandBack(reason="others run here", unable="alone"))
        elif self._ready:
            if job.waits:
                # What is under way says that it waits; what is sent from now on does not.
                job.waits = False
                self._beat()
        elif not self._entered:
            self._entered = True
            self._enter(job)

    def acknowledged(self, held: Sequence[Held], holds: Sequence[Hold]) -> None:
        """A heartbeat that named these was acknowledged: start it if it did not say "waits"."""
        job = self._waiting
        if job is None or job.waits or not self._alone():
            return
        said = Held(job.id, job.delivery.token)
        if any(one == said and hold is Hold.KEPT for one, hold in zip(held, holds, strict=True)):
            self._waiting, self._running = None, job
            self._patience = self._least
            self._start(job)

    def _alone(self) -> bool:
        return len(self._desk.active) == 1 and self._recorded()
