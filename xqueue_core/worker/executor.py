"""Runs deliveries on the handlers' loop: coroutines as tasks, plain functions in threads."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from xqueue_core.context import Context
from xqueue_core.task import AnyOutcome, Canceled, HandBack, Success
from xqueue_core.worker import report
from xqueue_core.worker.crossing import Crossing, Inward, Pipe
from xqueue_core.worker.deadlines import Deadlines
from xqueue_core.worker.job import Job, Recall, Stage, Tell, Told
from xqueue_core.worker.link import Link, deadline
from xqueue_core.worker.options import WorkerOptions
from xqueue_core.worker.outcomes import BadArguments, of_error, of_unstarted, of_value
from xqueue_core.worker.progress import Reporter
from xqueue_core.worker.threads import Threads
from xqueue_core.worker.tools import Term, Tools

logger = logging.getLogger("xqueue.worker")


class Executor:
    """Everything here happens on the handlers' loop, but for the bodies of plain functions."""

    def __init__(
        self,
        crossing: Crossing,
        options: WorkerOptions,
        tools: Tools,
        term: Term,
        wake: Callable[[Callable[[], None]], Any],
        *,
        worker: str = "",
        app: Any = None,
    ) -> None:
        self.clock = tools.clock
        self._out = crossing.outward.send
        self._slots = options.concurrency
        self._largest = options.max_result
        self._random = tools.random.random
        self._term = term
        self._worker = worker
        self._app = app
        self._ready: deque[Job] = deque()
        self._ready_plain: deque[Job] = deque()
        self._running: set[Job] = set()
        self._threads = Threads(options.threads)
        self._returned: Pipe[Job] = Pipe(wake)
        self._returned.connect(self._back)
        self._deadlines = Deadlines(self._running, self.clock, self._late)
        self.reporter = Reporter(self._out, wake, worker, tools)
        crossing.inward.connect(self.receive)

    def receive(self, batch: list[Inward]) -> None:
        """Take what has crossed: jobs to run, and words about jobs."""
        for item in batch:
            if type(item) is Job:
                (self._ready if item.spec.is_async else self._ready_plain).append(item)
            elif type(item) is Tell:
                self._tell(item.job, item.why)
            elif type(item) is Recall:
                self._recall(item)
        self._start_ready()

    def close(self) -> None:
        """Let idle threads end and watch no more deadlines."""
        self._threads.close()
        self._deadlines.close()

    # -- starting ------------------------------------------------------------------------------

    def _start_ready(self) -> None:
        now = self.clock()
        fresh = self._term.fresh(now)
        while self._ready_plain and self._threads.free and len(self._running) < self._slots:
            self._start(self._ready_plain.popleft(), now, fresh)
        while self._ready and len(self._running) < self._slots:
            self._start(self._ready.popleft(), now, fresh)

    def _start(self, job: Job, now: float, fresh: bool) -> None:
        permits = (job.permit, job.key_permit)
        fresh = fresh and all(grip is None or grip.good(now) for grip in permits)
        if not fresh or job.canceled or job.lost or job.stage is Stage.ENDED:
            self._end(job, _barred(job))
            return
        job.started = now
        self._running.add(job)
        report.started(job)
        if job.delivery.task.process_timeout is not None:
            job.deadline = deadline(job)
            self._deadlines.watch(job.deadline)
        context = contextvars.copy_context()
        if job.spec.is_async:
            loop = asyncio.get_running_loop()
            job.task = loop.create_task(self._run(job), context=context)
        else:
            self._threads.submit(partial(context.run, self._run_plain, job))

    def _context(self, job: Job) -> Context | None:
        if not job.spec.takes_context:
            return None
        return Context(job.delivery, Link(job, self), self._worker, self._app)

    # -- running -------------------------------------------------------------------------------

    async def _run(self, job: Job) -> None:
        outcome: AnyOutcome | None
        try:
            if job.told is not Told.NOTHING or job.stage is Stage.ENDED:
                raise asyncio.CancelledError
            job.entered = True
            value = await job.spec.call(self._context(job), _arguments(job))
            outcome = self._value(job, value)
        except BaseException as error:  # noqa: BLE001 - SystemExit too: the worker goes on
            outcome = self._error(job, error)
        self._ran(job, outcome)

    def _run_plain(self, job: Job) -> None:
        """In a thread."""
        try:
            if job.stage is Stage.ENDED:
                raise asyncio.CancelledError
            value = job.spec.call(self._context(job), _arguments(job))
            job.outcome = self._value(job, value)
        except BaseException as error:  # noqa: BLE001 - as above
            job.outcome = self._error(job, error)
        self._returned.send(job)

    def _value(self, job: Job, value: object) -> AnyOutcome:
        outcome = of_value(job, value, self._largest, self._random)
        if type(outcome) is not Success:
            report.failure(job, outcome)
        return outcome

    def _error(self, job: Job, error: BaseException) -> AnyOutcome | None:
        outcome = of_error(job, error, self._random)
        report.failure(job, outcome, error)
        return outcome

    def _back(self, jobs: list[Job]) -> None:
        for job in jobs:
            self._threads.finished()
            self._ran(job, job.outcome)

    def _ran(self, job: Job, outcome: AnyOutcome | None) -> None:
        self._running.discard(job)
        job.task = None  # a finished task and its job would keep each other alive
        if job.progress is not None:
            self.reporter.last(job)
        self._end(job, outcome)
        if self._ready or self._ready_plain:
            self._start_ready()

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
        job.told = why
        if not job.started:
            self._forget(job)
            self._end(job, of_unstarted(why))
        elif job.task is not None and job.entered:
            job.task.cancel()
        # A coroutine that was not entered looks for itself; a thread may look, or may not.

    def _forget(self, job: Job) -> None:
        for queue in (self._ready, self._ready_plain):
            if job in queue:
                queue.remove(job)

    def _recall(self, recall: Recall) -> None:
        for queue in (self._ready, self._ready_plain):
            for job in [job for job in queue if recall.means(job)]:
                queue.remove(job)
                self._end(job, HandBack(reason=recall.reason))


def _barred(job: Job) -> AnyOutcome | None:
    """What becomes of a job that must not start: the engine knows more than was told so far."""
    if job.lost or job.stage is Stage.ENDED:
        return None
    # It is canceled, or the lease is stale and it may have been given to another worker by now.
    return Canceled() if job.canceled else HandBack(reason="stale")


def _arguments(job: Job) -> dict[str, Any]:
    task = job.delivery.task
    try:
        return job.spec.arguments(task.payload, task.content_type)
    except Exception as error:
        raise BadArguments(str(error)) from error
