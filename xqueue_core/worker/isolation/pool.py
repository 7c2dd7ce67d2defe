"""Which children there are, and what each of them does.

No input and output of its own, and no clock: :mod:`~.post` calls it, on its thread, with what
has come from children, and often enough for :meth:`Pool.tick` to keep its times.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from xqueue_core.task import Progress
from xqueue_core.worker.isolation.member import At, Came, Child, Health, Note, Room
from xqueue_core.worker.isolation.process import how
from xqueue_core.worker.isolation.saying import say
from xqueue_core.worker.isolation.verdict import End
from xqueue_core.worker.isolation.wire import (
    VERSION,
    Began,
    Done,
    FromChild,
    Leave,
    Ready,
    Reported,
    Returned,
    Unfit,
    frame,
)
from xqueue_core.worker.job import Job, Told

logger = logging.getLogger("xqueue.worker")

#: Seconds a child has to load the app.
START = 60.0
#: Seconds that plugins in a child have after each task, and what it closes: more than a patient
#: one takes.
PART = 5.0
#: Seconds a child has to end by itself after its last task.
LEAVE = 2.0
#: Seconds in which a child that has closed its wire must have ended.
HUNG_UP = 0.5
#: Seconds after which a child that nothing needs is let go.
RETIRE = 30.0
#: Seconds that what a killed child has started may take to end, and between two looks.
SWEEP = 5.0
LOOK = 0.01
#: Bounds of the wait after a child that could not start (seconds); it doubles.
FIRST_WAIT = 0.1
LONGEST_WAIT = 30.0
#: After so many in a row, and without another child, tasks are handed back until one starts.
FAILURES = 3


@dataclass(slots=True)
class Pool:
    """At most ``most`` tasks at a time, in as many children; a few more are warmed ahead.

    Args:
        per_child: tasks that a child runs, one after another, before it ends.
        spawn: starts a child, which has been told its app. Raises OSError.
        tell: takes what the handlers' side must know.
        progress: takes a job's progress.
        good: True while a job may begin, by its lease and permits; asked as it is sent.
    """

    most: int
    per_child: int
    spawn: Callable[[], Child]
    clock: Callable[[], float]
    tell: Callable[[Note], None]
    progress: Callable[[Job, Progress], None]
    good: Callable[[Job], bool] = lambda job: True
    children: set[Child] = field(default_factory=set)
    waiting: deque[tuple[Job, bytes]] = field(default_factory=deque)
    closed: bool = False
    fault: str = ""
    failures: int = 0
    not_before: float = float("-inf")

    # -- what is wanted ------------------------------------------------------------------------

    def start(self, job: Job, order: bytes) -> None:
        """Run it in a child that is ready; it waits for the next one if that has died.

        ``order`` is the frame that says so.
        """
        if self.closed or self.fault:
            self.tell(End(job, sent=False, fault=self.fault))
            return
        self.waiting.append((job, order))
        self._serve()

    def kill(self, job: Job, why: Told) -> None:
        """End it, for this reason."""
        for child in list(self.children):
            if child.job is job:
                with self.alone(child):
                    self._end(child, why)
                return
        for one in self.waiting:
            if one[0] is job:
                self.waiting.remove(one)
                self.tell(End(job, why=why, sent=False))
                return

    def close(self) -> None:
        """End all children; their tasks are reported, too."""
        self.closed = True
        while self.waiting:
            self.tell(End(self.waiting.popleft()[0], why=Told.STOP, sent=False))
        for child in list(self.children):
            with self.alone(child):
                if child.at is At.IDLE:
                    self._leave(child)
                elif child.at in (At.STARTING, At.BUSY):
                    child.why = child.why if child.job is None else Told.STOP
                    self._kill(child)

    # -- what children say ---------------------------------------------------------------------

    def received(self, child: Child, message: FromChild) -> None:
        """A child has said something."""
        if isinstance(message, Reported):
            if child.job is not None and child.why is Told.NOTHING:
                self.progress(child.job, message.progress)
        elif isinstance(message, Ready) and child.at is At.STARTING:
            self._ready(child, message)
        elif isinstance(message, Unfit) and child.at is At.STARTING:
            child.fault = message.why
            self.failures = FAILURES
            self._kill(child)
        elif isinstance(message, Began) and child.job is not None:
            child.began = True
        elif isinstance(message, Returned) and child.began and child.outcome is None:
            self._came(child, message)
            if child.at is At.BUSY:  # else it was killed a moment ago
                self._go(child, At.PARTING)
        elif isinstance(message, Done) and child.began and _may_be_done(child):
            self._done(child, message)
        else:
            self.broken(child, f"said {type(message).__name__!r} out of turn")

    def broken(self, child: Child, fault: str) -> None:
        """A child does not keep to the protocol."""
        if child.at in (At.STARTING, At.IDLE, At.BUSY, At.PARTING):
            child.fault = fault
            self._kill(child)

    def hung_up(self, child: Child) -> None:
        """A child has closed its wire: because it ends, most likely."""
        child.hung_up = self.clock()

    def ended(self, child: Child) -> None:
        """A child's process has ended, and all it said was heard."""
        if child.at is At.DEAD:
            if child not in self.children:  # it was not waited for
                self._reap(child)
            return
        was = child.at
        self._go(child, At.DEAD)
        if was is At.IDLE:
            self.tell(Room(-1))
        with self.alone(child):
            if was is At.LEAVING:
                child.process.kill()  # what it has started, and left behind
                self._bury(child)
            else:
                self._sweep(child)

    def tick(self) -> float:
        """Do what the time has come for; seconds until it is wanted again."""
        now = self.clock()
        wait = RETIRE
        for child in list(self.children):
            with self.alone(child):
                wait = min(wait, self._look(child, now))
        if not self.closed:
            self._warm(now)
            if now < self.not_before:
                wait = min(wait, self.not_before - now)
        return max(wait, 0.0)

    # -- what goes wrong here ------------------------------------------------------------------

    @contextmanager
    def alone(self, child: Child) -> Iterator[None]:
        """Whatever goes wrong within ends this child, and its task; all others go on."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - one for all: nobody else is to pay for it
            self.faulty(child, error)

    def faulty(self, child: Child, error: Exception) -> None:
        """Serving a child has failed: it is killed, and the second time not waited for either."""
        task = "" if child.job is None else f" of {child.job.id}"
        say(logging.ERROR, "the child process%s cannot be served, and is ended", task, error=error)
        again, child.faulty = child.faulty or child.at is At.DEAD, True
        child.fault = child.fault or f"cannot be served: {error!r}"
        if not again:
            try:
                self._kill(child)
            except Exception as worse:  # noqa: BLE001 - as above
                say(logging.ERROR, "nor can it be killed", error=worse)
            else:
                return
        dead = child.at is At.DEAD
        child.at = At.DEAD
        self._over(child, self._reap(child) if dead else None)

    # -- living --------------------------------------------------------------------------------

    def _ready(self, child: Child, message: Ready) -> None:
        if message.version != VERSION:
            self.broken(child, f"speaks version {message.version} of the protocol, not {VERSION}")
            return
        child.ready = True
        self.failures, self.not_before, self.fault = 0, float("-inf"), ""
        self.tell(Health(""))
        self._idle(child)

    def _idle(self, child: Child) -> None:
        self._go(child, At.IDLE)
        if self.closed:
            self._leave(child)
        else:
            self.tell(Room(1))
            self._serve()

    def _serve(self) -> None:
        idle = [child for child in self.children if child.at is At.IDLE]
        while self.waiting and idle:
            job, order = self.waiting.popleft()
            if not self.good(job):  # it has waited for this child, perhaps for long
                self.tell(End(job, sent=False))
                continue
            child = idle.pop(0)
            child.job = job
            child.began, child.outcome = False, None
            self._go(child, At.BUSY)
            with self.alone(child):
                child.process.send(order)
        self._warm(self.clock())

    def _came(self, child: Child, message: Returned | Done) -> None:
        """Its handler has returned; what it has said of that once stands."""
        if child.outcome is None:
            child.outcome = message.outcome
            if child.at is At.BUSY and child.job is not None:
                self.tell(Came(child.job, self.clock()))

    def _done(self, child: Child, message: Done) -> None:
        self._came(child, message)
        child.ran += 1
        if child.at not in (At.BUSY, At.PARTING):
            return  # it was killed a moment ago
        if child.ran < self.per_child and child.job is not None:
            self.tell(End(child.job, child.outcome, began=True))
            child.job = None
            self._idle(child)
        else:
            self._go(child, At.LEAVING)

    def _warm(self, now: float) -> None:
        """Start children ahead of need: one more than twice what is busy, within bounds.

        So the pool doubles while work comes, and shrinks when it stays away.
        """
        busy, warm = self._count(At.BUSY), self._count(At.STARTING, At.IDLE)
        most = self.most + max(1, self.most // 4)
        while warm < busy + 1 + len(self.waiting) and len(self.children) < most:
            if self.closed or now < self.not_before:
                return
            try:
                self.children.add(self.spawn())
            except Exception as error:  # noqa: BLE001 - whatever it is, it is tried again later
                if not isinstance(error, OSError):
                    say(logging.ERROR, "a child process cannot be started", error=error)
                self._failed(f"cannot be started: {error}")
                return
            warm += 1

    def _count(self, *where: At) -> int:
        return sum(child.at in where for child in self.children)

    def _look(self, child: Child, now: float) -> float:
        """Look whether a child has been too long where it is; seconds until the next look."""
        since = now - child.since
        if child.at is At.DEAD:
            self._sweep(child)
            return LOOK
        if child.hung_up is not None and child.at in (At.STARTING, At.IDLE, At.BUSY):
            if now - child.hung_up >= HUNG_UP:
                self.broken(child, "has closed its pipe to the worker")
            return HUNG_UP
        if child.at is At.STARTING:
            if since >= START:
                child.fault = (
                    f"did not load the app within {START:g} s: importing it must not wait, "
                    f"nor start anything that does not end"
                )
                self.failures = FAILURES  # the next would take as long
                self._kill(child)
            return START - since
        if child.at is At.PARTING:
            if since >= PART:
                logger.warning(
                    "a child process has not left plugins, or closed connections and threads, "
                    "within %g s of its task's end, which stands: the process is killed",
                    PART,
                )
                self._kill(child)
            return PART - since
        if child.at is At.LEAVING:
            if since >= LEAVE:
                self._kill(child)
            return LEAVE - since
        if child.at is At.IDLE and since >= RETIRE:
            if self._count(At.IDLE, At.STARTING) > self._count(At.BUSY) + 1:
                self.tell(Room(-1))
                self._leave(child)
            else:
                child.since = now
        return RETIRE

    # -- dying ---------------------------------------------------------------------------------

    def _go(self, child: Child, where: At) -> None:
        child.at = where
        child.since = self.clock()

    def _leave(self, child: Child) -> None:
        self._go(child, At.LEAVING)
        child.process.send(frame(Leave()))

    def _end(self, child: Child, why: Told) -> None:
        if child.at in (At.BUSY, At.DYING) and child.outcome is None:
            child.why = why
            self._kill(child)
        elif child.at is At.PARTING and why is not Told.TIMEOUT:
            # Its plugins are not waited for; how it ended stands, unless it is lost.
            child.why = why if why is Told.LOST else Told.NOTHING
            self._kill(child)

    def _kill(self, child: Child) -> None:
        if child.at is At.IDLE:
            self.tell(Room(-1))
        if child.at is not At.DEAD:
            self._go(child, At.DYING)
        child.process.kill()

    def _sweep(self, child: Child) -> None:
        """Bury a child when nothing it has started is left, or will not go."""
        if child.process.swept() or self.clock() - child.since >= SWEEP:
            self._bury(child)

    def _bury(self, child: Child) -> None:
        self._over(child, self._reap(child))

    def _reap(self, child: Child) -> int | None:
        try:
            return child.process.reap()
        except Exception as error:  # noqa: BLE001 - its task has ended all the same
            say(logging.ERROR, "a child process that has ended is left to the system", error=error)
            return None

    def _over(self, child: Child, code: int | None) -> None:
        self.children.discard(child)
        if child.job is not None:
            end = End(child.job, child.outcome, child.why, True, child.began, code, child.fault)
            child.job = None
            self.tell(end)
        elif not child.ready and not self.closed:
            self._failed(child.fault or ("ended" if code is None else how(code)))
        if not self.closed:
            self._warm(self.clock())

    def _failed(self, fault: str) -> None:
        """A child could not be started: try again later, and hand back meanwhile."""
        self.failures += 1
        wait = FIRST_WAIT * 2.0 ** min(self.failures - 1, 16)
        self.not_before = self.clock() + min(LONGEST_WAIT, wait)
        if self.failures >= FAILURES and not self._count(At.IDLE, At.BUSY, At.PARTING):
            self.fault = fault
            self.tell(Health(fault))
            while self.waiting:
                self.tell(End(self.waiting.popleft()[0], sent=False, fault=fault))


def _may_be_done(child: Child) -> bool:
    """True if the end of its task is still to be said, or was said, and its plugins were told."""
    return child.outcome is None or child.at is At.PARTING
