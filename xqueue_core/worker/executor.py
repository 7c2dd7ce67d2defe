"""Decides on the handlers' loop what starts when, when it must end, and reports its end."""

from __future__ import annotations

import contextvars
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from xqueue_core.handlers import Kind
from xqueue_core.task import AnyOutcome, HandBack, Success
from xqueue_core.worker import report
from xqueue_core.worker.bodies import Bodies
from xqueue_core.worker.coroutines import Coroutines, Ended, barred
from xqueue_core.worker.crossing import Crossing, Inward
from xqueue_core.worker.deadlines import Deadlines
from xqueue_core.worker.erring import Erring
from xqueue_core.worker.escorted import Escorted
from xqueue_core.worker.host import Host
from xqueue_core.worker.job import Job, Ran, Recall, Resize, Stage, Tell, Told
from xqueue_core.worker.layers import Layers
from xqueue_core.worker.link import deadline
from xqueue_core.worker.options import WorkerOptions
from xqueue_core.worker.outcomes import of_unstarted
from xqueue_core.worker.progress import Reporter
from xqueue_core.worker.runner import Runner
from xqueue_core.worker.threads import Pool, Threads
from xqueue_core.worker.told import Runs
from xqueue_core.worker.tools import Term, Tools
from xqueue_core.worker.wrapped import InChild, InThread, Wrapped

if TYPE_CHECKING:
    from xqueue_core.erring import ErrorHook
    from xqueue_core.worker.isolation import Children

#: A run that takes longer (seconds) is remembered for a while, as one of so many.
LONG = 0.5
PAST = 64


class Executor:
    """Everything here happens on the handlers' loop; a :class:`Runner` for each kind of handler
    runs their code.

    Args:
        host: the handlers' loop.
        app: what the handlers' contexts name as their app.
        state: what the app's lifespan has yielded.
        base: the contextvars that each handler finds; by default those of the caller.
        runs: tells plugins of each run.
    """

    def __init__(
        self,
        crossing: Crossing,
        options: WorkerOptions,
        tools: Tools,
        term: Term,
        host: Host,
        *,
        worker: str = "",
        app: Any = None,
        state: Any = None,
        base: contextvars.Context | None = None,
        runs: Runs | None = None,
    ) -> None:
        self._runs = runs
        self._clock = tools.clock
        self._out = crossing.outward.send
        self._slots = options.slots
        self._term = term
        self._options, self._tools, self._host, self._app = options, tools, host, app
        self._worker = worker
        self.children: Children | None = None  # what runs isolated handlers, once it was asked for
        # In the order in which they are served: threads are few, and coroutines never wait long.
        self._ready: dict[Kind, deque[Job]] = {
            kind: deque() for kind in (Kind.THREAD, Kind.PROCESS, Kind.COROUTINE)
        }
        self._running: set[Job] = set()
        #: For the watchdog, which may wake after a job that held it up has ended.
        self.past: deque[Ran] = deque(maxlen=PAST)
        self._deadlines = Deadlines(self._running, host, self._clock, self._late)
        self.reporter = Reporter(self._out, host, worker, tools)
        base = contextvars.copy_context() if base is None else base
        self._bodies = Bodies(host, options, tools, self.reporter, worker, app, state, base)
        self._erring = Erring(self._error_hooks, host, self._bodies, self._told_of)
        self._runners: dict[Kind, Runner] = {}
        crossing.inward.connect(self.receive)

    def receive(self, batch: list[Inward]) -> None:
        """Take what has crossed: jobs to run, and words about jobs."""
        for item in batch:
            if type(item) is Job:
                self._ready[item.spec.kind].append(item)
            elif type(item) is Tell:
                self._tell(item.job, item.why)
            elif type(item) is Recall:
                self._recall(item)
            elif type(item) is Resize:
                self._resize(item)
        self._start_ready()

    def _resize(self, word: Resize) -> None:
        runner = self._runners.get(Kind.COROUTINE)
        if isinstance(runner, Coroutines):
            runner.free += word.slots - self._slots
        self._slots = word.slots
        if word.seen is not None:
            word.seen()

    def runner(self, kind: Kind) -> Runner:
        """The runner of this kind, made at the first use."""
        if kind not in self._runners:
            self._runners[kind] = self._made(kind)
        return self._runners[kind]

    def close(self) -> None:
        """Let go of threads and processes, and watch no more deadlines."""
        for runner in self._runners.values():
            runner.close()
        self._deadlines.close()
        self._erring.close()

    def _made(self, kind: Kind) -> Runner:
        host, bodies, around = self._host, self._bodies, getattr(self._app, "middleware", ())
        ran, resume, runs = self._ran, self._deadlines.resume, self._runs
        if kind is Kind.COROUTINE:
            enter = Layers(around, host, bodies).enter if around else None
            return Coroutines(self._slots, host, bodies, self._begins, ran, enter, runs)
        if kind is Kind.THREAD:
            pool = Pool(self._options.threads)
            if around:
                threads = InThread(pool, host, bodies)
                return Wrapped(threads, around, host, bodies, self._begins, ran, resume, runs)
            return Threads(pool, host, bodies, ran, runs)
        if around:
            children = InChild(self._made_children, self._start_ready)
            return Wrapped(children, around, host, bodies, self._begins, ran, resume, runs)
        if runs is not None:
            return Escorted(self._made_children, ran, self._start_ready, runs, bodies.fresh)
        return self._made_children(ran, self._start_ready)

    def _made_children(self, ended: Ended, look: Callable[[], None]) -> Runner:
        from xqueue_core.worker.isolation import Children

        self.children = Children(
            self._options,
            self._tools,
            self._host,
            ended,
            self._app,
            worker=self._worker,
            came=self._deadlines.rest,
            progress=self.reporter.report,
            look=look,
            good=self._good,
        )
        return self.children

    # -- starting ------------------------------------------------------------------------------

    def _start_ready(self) -> None:
        for kind, queue in self._ready.items():
            if queue:
                runner = self.runner(kind)
                while queue and len(self._running) < self._slots and runner.free > 0:
                    self._start(queue.popleft(), runner)

    def _start(self, job: Job, runner: Runner) -> None:
        """Give it a slot. A coroutine begins by itself, with its first step: what another one
        does before that, on the same loop, may take long."""
        self._running.add(job)
        if isinstance(runner, Coroutines | Wrapped) or self._begins(job):
            runner.start(job)
        else:
            self._running.discard(job)
            self._end(job, barred(job))

    def _begins(self, job: Job) -> bool:
        """True if its code may begin, which it does then; else it is :func:`barred`."""
        ends = job.canceled or job.lost or job.told is not Told.NOTHING
        back = job.recalled or job.stage is Stage.ENDED
        if ends or back or not self._good(job) or not job.claim():
            return False
        job.started = self._clock()
        report.started(job)
        if job.delivery.task.process_timeout is not None:
            job.deadline = deadline(job)
            self._deadlines.watch(job.deadline)
        return True

    def _good(self, job: Job) -> bool:
        """True if neither its lease nor its permits may have run out."""
        now, permits = self._clock(), (job.permit, job.key_permit)
        return self._term.fresh(now) and all(grip is None or grip.good(now) for grip in permits)

    # -- ending --------------------------------------------------------------------------------

    def _ran(self, job: Job, outcome: AnyOutcome | None, told: bool = False) -> None:
        """Its code has ended. Unless the app was ``told`` of a failure, that comes first."""
        if type(outcome) is not Success and not told and self._erring.take(job, outcome):
            return
        self._running.discard(job)
        now = self._clock()
        if job.started and now - job.started > LONG:
            self.past.append(Ran(job.id, job.started, now))
        if job.progress is not None:
            self.reporter.last(job)
        self._end(job, outcome)
        if any(self._ready.values()):
            self._start_ready()

    def _told_of(self, job: Job, outcome: AnyOutcome | None) -> None:
        self._ran(job, outcome, told=True)

    def _error_hooks(self) -> tuple[ErrorHook, ...]:
        hooks: tuple[ErrorHook, ...] = getattr(self._app, "error_hooks", ())
        return hooks

    def _end(self, job: Job, outcome: AnyOutcome | None) -> None:
        job.outcome = outcome
        job.ended = True
        report.ended(job, outcome)
        self._out(job)

    # -- telling -------------------------------------------------------------------------------

    def _late(self, job: Job) -> None:
        self._tell(job, Told.TIMEOUT)

    def _tell(self, job: Job, why: Told) -> None:
        if job.ended or why.value <= job.told.value:
            return
        if job.over:  # how it ended is decided
            if why is not Told.TIMEOUT:
                self._erring.cut(job)
            return
        # Asked once more, what is beyond its time-out stays so: it would be handed back for ever.
        # But what has returned is to end now, and plugins in its child are not to hold that up.
        if why is not Told.STOP or job.told is not Told.TIMEOUT or job.still is not None:
            job.told = why
        if job.started:
            self.runner(job.spec.kind).tell(job)
        elif job not in self._running:  # else it ends instead of its first step
            if job in (queue := self._ready[job.spec.kind]):
                queue.remove(job)
            self._end(job, of_unstarted(why))

    def _recall(self, recall: Recall) -> None:
        for queue in self._ready.values():
            for job in [job for job in queue if recall.means(job)]:
                queue.remove(job)
                self._end(job, HandBack(reason=recall.reason))
        for job in self._running:
            if not job.started and recall.means(job):
                job.recalled = recall.reason  # as above
