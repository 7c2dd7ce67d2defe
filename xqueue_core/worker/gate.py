"""The last step before the handlers: jobs pass in order, keyed ones by way of their key's permit.

A permit is asked for ahead of the slot, so that no slot stands empty for that long. Where slots do
not become free soon, such a permit would keep every other task of its key from running anywhere:
then a keyed job waits for its slot first, and whatever has come after it waits behind it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection

from xqueue_core.handlers import Kind
from xqueue_core.worker.desk import Desk
from xqueue_core.worker.job import Job, Recall, Stage

#: Seconds for which a job may hold its key's permit before it starts: as long as a semaphore lets
#: who holds a lane's permit keep others waiting.
LONGEST = 1.0
#: Seconds within which a slot became free: permits are asked for ahead again.
SOON = 0.25


class Gate:
    """Jobs that have their lane's permit, if they need one, on their way to the handlers.

    Args:
        elsewhere: those on the desk that wait for their lane's permit.
        ask: takes a keyed job, whose key is to be asked for a permit.
        start: takes any other.
    """

    def __init__(
        self,
        desk: Desk,
        clock: Callable[[], float],
        elsewhere: Callable[[], Collection[Job]],
        ask: Callable[[Job], None],
        start: Callable[[Job], None],
    ) -> None:
        self._desk = desk
        self._clock = clock
        self._elsewhere = elsewhere
        self._ask = ask
        self._start = start
        # By kind: what waits for a thread keeps no coroutine back.
        self._lines: dict[Kind, deque[tuple[Job, float]]] = {kind: deque() for kind in Kind}
        #: Kinds of which permits wait for slots.
        self.slow: set[Kind] = set()

    @property
    def waits(self) -> int:
        """How many wait here."""
        return sum(map(len, self._lines.values()))

    def admit(self, job: Job) -> None:
        """A job has come."""
        kind = job.spec.kind
        if kind not in self.slow:
            self._pass(job)
            return
        job.stage = Stage.ASKING
        self._lines[kind].append((job, self._clock()))
        self._move(kind)

    def look(self) -> None:
        """A slot may have become free."""
        for kind in list(self.slow):
            self._move(kind)

    def withdraw(self, job: Job) -> bool:
        """A job must not start. False if it does not wait here."""
        line = self._lines[job.spec.kind]
        for entry in line:
            if entry[0] is job:
                line.remove(entry)
                return True
        return False

    def overdue(self) -> list[Recall]:
        """What is to be recalled, because its key's permit has waited too long for a slot."""
        before = self._clock() - LONGEST
        found = [
            job
            for job in self._desk.active
            if job.key_permit is not None
            and job.stage is Stage.CROSSED
            and not job.started
            and job.key_permit.since < before
        ]
        self.slow.update(job.spec.kind for job in found)
        return [Recall("key", job=job) for job in found]

    def _move(self, kind: Kind) -> None:
        line = self._lines[kind]
        while line and (line[0][0].delivery.task.key is None or self._free(kind)):
            job, since = line.popleft()
            if job.delivery.task.key is not None and self._clock() - since < SOON:
                self.slow.discard(kind)
            self._pass(job)
        if kind not in self.slow:
            while line:
                self._pass(line.popleft()[0])

    def _free(self, kind: Kind) -> bool:
        """True if there is a slot for another one of this kind."""
        waiting = [*self._elsewhere(), *(job for line in self._lines.values() for job, _ in line)]
        return all(self._desk.startable(one, waiting) > 0 for one in (None, kind))

    def _pass(self, job: Job) -> None:
        if job.delivery.task.key is None:
            self._start(job)
        else:
            job.stage = Stage.ASKING
            self._ask(job)
