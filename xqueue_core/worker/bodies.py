"""What the runners of one process share: a job's context and call, and the verdict on its end."""

from __future__ import annotations

import asyncio
import contextvars
import math
from typing import Any

from xqueue_core.context import Context
from xqueue_core.errors import TaskFailed
from xqueue_core.task import AnyOutcome, Failed, RetryAt, Success, TimedOut
from xqueue_core.worker import report
from xqueue_core.worker.host import Host
from xqueue_core.worker.job import Job, Told
from xqueue_core.worker.link import Link
from xqueue_core.worker.options import WorkerOptions
from xqueue_core.worker.outcomes import BadArguments, of_error, of_value, plain_cancel, timed_out
from xqueue_core.worker.progress import Reporter
from xqueue_core.worker.tools import Tools


class FailedElsewhere(TaskFailed):
    """The handler failed in a process of its own; for the middleware around it."""

    def __init__(self, id: str, outcome: Failed | RetryAt | TimedOut) -> None:
        said = outcome.failure
        super().__init__(
            report.described(said),
            id,
            reason=said.reason,
            error_type=said.type,
            traceback=said.traceback,
        )
        self.outcome = outcome


class StoppedElsewhere(asyncio.CancelledError):
    """The handler was ended in its own process because it was told to end, as ``outcome`` says."""

    def __init__(self, outcome: AnyOutcome | None) -> None:
        super().__init__("the handler was told to end")
        self.outcome = outcome


class Bodies:
    """Used on the handlers' loop and in threads.

    Args:
        app: what a handler's context names as its app.
        state: what the app's lifespan has yielded.
        base: the contextvars that each handler finds; what it sets is seen by no other.
    """

    def __init__(
        self,
        host: Host,
        options: WorkerOptions,
        tools: Tools,
        reporter: Reporter,
        worker: str,
        app: Any,
        state: Any,
        base: contextvars.Context,
    ) -> None:
        self._cancelled = host.cancelled
        self._largest = options.max_result
        self._clock = tools.clock
        self._random = tools.random.random
        self._told = tools.raised
        self._reporter = reporter
        self._worker = worker
        self._app = app
        self._state = state
        #: A context of its own for each handler: the runner's own was left by whoever ended last.
        self.fresh = base.copy

    def context(self, job: Job) -> Context:
        """What the job's handler may know."""
        link = Link(job, self._clock, self._reporter)
        return Context(job.delivery, link, self._worker, self._app, self._state)

    def call(self, job: Job, context: Context | None = None) -> Any:
        """Call the handler: its result, or an awaitable of it. Raises what it raises."""
        if context is None and job.spec.takes_context:
            context = self.context(job)
        return job.spec.call(context, _arguments(job))

    def rest(self, job: Job) -> None:
        """Its handler has returned, in a thread: what follows there is not its time."""
        job.rest(self._clock())

    def returned(self, job: Job, value: object) -> AnyOutcome:
        """The handler returned."""
        if job.told is Told.NOTHING and job.deadline < math.inf and self._clock() > job.deadline:
            # Its loop was blocked, so it could not be told: nobody has decided anything.
            outcome = timed_out(job, self._random)
        else:
            outcome = of_value(job, value, self._largest, self._random)
        if type(outcome) is not Success:
            report.failure(job, outcome)
        return outcome

    def raised(self, job: Job, error: BaseException) -> AnyOutcome | None:
        """The handler raised; None if there is nothing to settle."""
        self._told(job.id, error)
        if getattr(self._app, "error_hooks", ()):
            job.trouble = error, contextvars.copy_context()
        if isinstance(error, FailedElsewhere | StoppedElsewhere):
            return error.outcome  # and it was logged there
        outcome = of_error(job, plain_cancel(error, self._cancelled), self._random)
        report.failure(job, outcome, error)
        return outcome


def _arguments(job: Job) -> dict[str, Any]:
    task = job.delivery.task
    try:
        return job.spec.arguments(task.payload, task.content_type)
    except Exception as error:
        raise BadArguments(str(error)) from error
