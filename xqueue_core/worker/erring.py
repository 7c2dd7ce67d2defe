"""Calls the app's ``on_error`` functions after attempts that failed, before those are settled."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from xqueue_core.errors import TaskTimedOut
from xqueue_core.hooks import How
from xqueue_core.task import AnyOutcome, Failed, RetryAt, TimedOut
from xqueue_core.worker import endings
from xqueue_core.worker.bodies import Bodies, FailedElsewhere
from xqueue_core.worker.host import Host, Stoppable
from xqueue_core.worker.job import Job
from xqueue_core.worker.outcomes import BadArguments
from xqueue_core.worker.spare import Spare

if TYPE_CHECKING:
    from xqueue_core.erring import ErrorHook

logger = logging.getLogger("xqueue.worker")

#: Longest that an attempt waits for each of the functions that are told of it (seconds).
PATIENCE = 5.0
#: Most plain functions that are called at once; others wait for a thread, for so long (seconds).
#: That is when much fails at once, which is when people want to know of it.
THREADS, QUEUE = 8, 60.0


@dataclass(slots=True, eq=False)
class _Report:
    """One attempt whose functions are being called."""

    job: Job
    outcome: AnyOutcome
    error: BaseException | None
    context: contextvars.Context
    left: deque[ErrorHook]  # to be called yet
    hook: ErrorHook | None = None  # is called now
    call: int = 0  # which one that is: a function may have been registered twice
    entered: int = 0  # which one has made its first step
    again: int = 0  # which one was begun again, as it had not
    queued: bool = False  # it waits for a thread
    work: Stoppable | None = None
    alarm: Stoppable | None = None

    @property
    def final(self) -> bool:
        """True if no retry follows, for all that is known by now."""
        return endings.how(self.job, self.outcome) is not How.RETRY


class Erring:
    """Used on the handlers' loop.

    Args:
        hooks: the functions there are at the time of asking.
        done: takes each job when its functions have been called.
    """

    def __init__(
        self,
        hooks: Callable[[], tuple[ErrorHook, ...]],
        host: Host,
        bodies: Bodies,
        done: Callable[[Job, AnyOutcome | None], None],
    ) -> None:
        self._hooks = hooks
        self._host = host
        self._bodies = bodies
        self._done = done
        self._reports: dict[Job, _Report] = {}
        self._spare: Spare | None = None

    def take(self, job: Job, outcome: AnyOutcome | None) -> bool:
        """True if the functions are told of this attempt; when they were, ``done`` is called."""
        trouble, job.trouble = job.trouble, None  # its traceback holds the job
        if not isinstance(outcome, Failed | RetryAt | TimedOut) or not (hooks := self._hooks()):
            return False
        error, context = self._raised(job, outcome, trouble)
        report = _Report(job, outcome, error, context, deque(hooks))
        if outcome.failure.reason == "retry" and not report.final:
            return False  # it asked for that, wherever it ran
        job.over = True
        self._reports[job] = report
        self._next(report)
        return True

    def cut(self, job: Job) -> bool:
        """It is to end now, whatever its functions do. False if they are not being called."""
        report = self._reports.get(job)
        if report is None:
            return False
        names = [_name(hook) for hook in (report.hook, *report.left) if hook is not None]
        text = "%s: the attempt ends before on_error has: %s"
        more = f"; not called: {', '.join(names[1:])}" if names[1:] else ""
        logger.warning(text, job.id, f"{names[0]} is not waited for{more}" if names else "")
        report.hook = None
        report.left.clear()
        if report.work is not None:
            report.work.cancel()
        self._over(report)
        return True

    def close(self) -> None:
        """The worker has ended: let threads end as they become idle."""
        if self._spare is not None:
            self._spare.close()

    # -- what is told ----------------------------------------------------------------------------

    def _raised(
        self,
        job: Job,
        outcome: Failed | RetryAt | TimedOut,
        trouble: tuple[BaseException, contextvars.Context] | None,
    ) -> tuple[BaseException, contextvars.Context]:
        """The exception, and the context that it was raised in."""
        error, context = trouble or (None, self._bodies.fresh())
        if getattr(outcome, "timed_out", False) or isinstance(outcome, TimedOut):
            late = TaskTimedOut(outcome.failure.message, job.id)
            if error is not None and not isinstance(error, FailedElsewhere):
                late.__cause__ = error
                late.__traceback__ = error.__traceback__
            return late, context
        if isinstance(error, BadArguments) and error.__cause__ is not None:
            error = error.__cause__
        return (FailedElsewhere(job.id, outcome) if error is None else error), context

    def _next(self, report: _Report) -> None:
        """Call the next function, which has all of its time to itself; or end."""
        if not report.left:
            self._over(report)
            return
        report.hook = report.left.popleft()
        report.call += 1
        report.queued = False
        self._watch(report, PATIENCE)
        self._begin(report, report.hook)

    def _begin(self, report: _Report, hook: ErrorHook) -> None:
        # A copy: this may run within that very context, and one that was given up may be in it.
        context, call = report.context.copy(), report.call
        report.work = self._host.spawn(self._call(report, hook, call), context)
        if isinstance(report.work, asyncio.Task):
            report.work.add_done_callback(lambda _: self._unentered(report, call))

    def _unentered(self, report: _Report, call: int) -> None:
        """Its task has ended. If that was before its first step the event loop ends, which cancels
        everything once: what waits for this attempt, as ``inline://`` does, lets it run on."""
        if report.hook is None or report.entered == call or not self._is_on(report, call):
            return
        if report.again == call:
            self.cut(report.job)
            return
        report.again = call
        self._begin(report, report.hook)

    def _watch(self, report: _Report, seconds: float) -> None:
        """From now on the call under way has so many seconds."""
        if report.alarm is not None:
            report.alarm.cancel()
        report.alarm = self._host.later(seconds, partial(self._late, report, report.call))

    async def _call(self, report: _Report, hook: ErrorHook, call: int) -> None:
        if self._is_on(report, call):
            report.entered = call
        try:
            await self._one(report, hook, call)
        except BaseException as raised:  # it must not raise
            if not self._is_on(report, call):
                return  # it was given up, and is not spoken of again
            if self._is_cancelled(raised):  # the handlers' loop ends
                self.cut(report.job)
                return
            trace = (type(raised), raised, raised.__traceback__)
            text = "%s: on_error's %s failed, which changes nothing: %r"
            logger.error(text, report.job.id, _name(hook), raised, exc_info=trace)
        if self._is_on(report, call):
            self._next(report)

    async def _one(self, report: _Report, hook: ErrorHook, number: int) -> None:
        about, error = self._bodies.context(report.job), report.error
        if error is None:  # it is over
            return
        call = partial(hook, about, error, report.final)
        try:
            value = call() if _is_async(hook) else await self._in_thread(report, number, call)
            if inspect.isawaitable(value):
                await value
        finally:
            del error, call  # the error's traceback may hold this frame

    def _is_on(self, report: _Report, call: int) -> bool:
        """True if this call is still waited for."""
        return (
            report.hook is not None
            and report.call == call
            and self._reports.get(report.job) is report
        )

    def _is_cancelled(self, raised: BaseException) -> bool:
        """True if this was cancelled from outside; a function may raise the like by itself."""
        if isinstance(raised, asyncio.CancelledError):
            task = self._host.current()
            return isinstance(task, asyncio.Task) and task.cancelling() > 0
        return isinstance(raised, self._host.cancelled)

    async def _in_thread(self, report: _Report, number: int, call: Callable[[], Any]) -> Any:
        """What it returns in a thread. Raises what it raises."""
        if self._spare is None:
            self._spare = Spare(self._host, THREADS)
        context = report.context.copy()
        waits = partial(self._waits, report, number)
        return await self._spare.run(partial(context.run, call), waits)

    def _waits(self, report: _Report, number: int, waits: bool) -> bool:
        """It waits for a thread, which is no time of the function's own; or it has one.

        False if it was given up: on trio a wait may end well that was cancelled meanwhile.
        """
        if not self._is_on(report, number):
            return False
        report.queued = waits
        self._watch(report, QUEUE if waits else PATIENCE)
        return True

    # -- the end ---------------------------------------------------------------------------------

    def _late(self, report: _Report, call: int) -> None:
        hook, work = report.hook, report.work
        if hook is None or not self._is_on(report, call):
            return
        text = "%s: on_error's %s has taken longer than %g s, and is not waited for any longer"
        if report.queued:
            text = "%s: on_error's %s was not called: no thread was free within %g s"
        logger.error(text, report.job.id, _name(hook), QUEUE if report.queued else PATIENCE)
        report.hook = None
        if work is not None:
            work.cancel()
        self._next(report)

    def _over(self, report: _Report) -> None:
        if self._reports.pop(report.job, None) is None:
            return
        if report.alarm is not None:
            report.alarm.cancel()
        report.error = None
        self._done(report.job, report.outcome)


def _name(hook: ErrorHook) -> str:
    return getattr(hook, "__qualname__", None) or repr(hook)


def _is_async(hook: object) -> bool:
    return inspect.iscoroutinefunction(hook) or inspect.iscoroutinefunction(type(hook).__call__)
