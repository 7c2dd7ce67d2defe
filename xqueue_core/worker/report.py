"""What the worker's log says of tasks: failures always, starts and ends if asked to."""

from __future__ import annotations

import logging
import sys
from collections.abc import Collection
from itertools import islice

from xqueue_core.task import AnyOutcome, Failed, Failure, RetryAt
from xqueue_core.worker.frames import own_frames
from xqueue_core.worker.job import Job

logger = logging.getLogger("xqueue.worker")

_NEEDS_ASYNCIO = "; it awaits what needs asyncio, but runs on trio (--loop trio)"

#: Most ids in one line.
LISTED = 10


def failure(job: Job, outcome: AnyOutcome | None, error: BaseException | None = None) -> None:
    """Log an attempt that failed, with the traceback, and what follows; other ends are not."""
    if type(outcome) is not Failed and type(outcome) is not RetryAt:
        return
    said, follows = outcome.failure, _follows(job, outcome)
    # A handler that waits by asking for retries does not fail.
    asked = said.reason == "retry" and type(outcome) is RetryAt and _left(job)
    level = logging.INFO if asked else logging.WARNING
    trace = None
    if error is not None and said.traceback and not asked:
        trace = (type(error), error, own_frames(error))
    try:
        logger.log(
            level,
            "%s %s, attempt %s: %s; %s",
            job.id,
            "timed out" if type(outcome) is RetryAt and outcome.timed_out else "failed",
            _attempt(job),
            described(said),
            follows + (_elsewhere(said) if error is None and not asked else _on_trio(error)),
            exc_info=trace,
        )
    except BaseException:  # noqa: BLE001 - a log handler's fault must not keep the task from ending
        return


def lost(job: Job) -> None:
    """Log that what a task came to here changes nothing, if it has run."""
    if job.started:
        logger.info("%s: delivery %d is not current any more", job.id, job.delivery.token)


def listed(jobs: Collection[Job]) -> str:
    """How many tasks they are, and the ids of the first ten: ``2 tasks: a:1, b:2``."""
    if not jobs:
        return "0 tasks"
    ids = ", ".join(job.id for job in islice(jobs, LISTED))
    more = f" and {len(jobs) - LISTED} more" if len(jobs) > LISTED else ""
    return f"{len(jobs)} task{'s' if len(jobs) > 1 else ''}: {ids}{more}"


def _elsewhere(said: Failure) -> str:
    """The traceback of a failure that came as data, from another process."""
    return f"\n{said.traceback.rstrip()}" if said.traceback else ""


def _on_trio(error: BaseException | None) -> str:
    """What to know of a handler that needs asyncio, if it runs on trio: Python's words tell less.

    A group, as a nursery makes it, is such an error if one in it is.
    """
    trio = sys.modules.get("trio")
    if error is None or trio is None or not trio.lowlevel.in_trio_task():
        return ""
    group = error if isinstance(error, BaseExceptionGroup) else BaseExceptionGroup("", [error])
    return _NEEDS_ASYNCIO if group.subgroup(_has_no_loop) is not None else ""


def _has_no_loop(error: BaseException) -> bool:
    return type(error) is RuntimeError and str(error) == "no running event loop"


def started(job: Job) -> None:
    """Log a start, if wanted."""
    if logger.isEnabledFor(logging.DEBUG):
        _debug("%s starts, attempt %s", job.id, _attempt(job))


def ended(job: Job, outcome: AnyOutcome | None) -> None:
    """Log an end, if wanted."""
    if logger.isEnabledFor(logging.DEBUG):
        how = "lost" if outcome is None else type(outcome).__name__.lower()
        _debug("%s ended: %s", job.id, how)


def _debug(text: str, *values: object) -> None:
    try:
        logger.debug(text, *values)
    except BaseException:  # noqa: BLE001 - a log handler's fault must not keep a task from its turn
        return


def described(said: Failure) -> str:
    """A failure in a line, as Python says it: ``KeyError: 'k'``."""
    return ": ".join(part for part in (said.type, said.message) if part) or said.reason


def _attempt(job: Job) -> str:
    return f"{job.delivery.attempt} of {job.delivery.task.max_retry + 1}"


def _left(job: Job) -> bool:
    return job.delivery.attempt <= job.delivery.task.max_retry and not job.last


def _follows(job: Job, outcome: Failed | RetryAt) -> str:
    if job.canceled:
        return "it was canceled"
    if type(outcome) is Failed:
        return f"it is not tried again ({outcome.failure.reason})"
    if type(outcome) is RetryAt and _left(job):
        return "next try at once" if job.at_once else f"next try in {outcome.delay:.1f} s"
    return "no attempt is left"
