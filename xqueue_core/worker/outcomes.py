"""From how a handler ended to an outcome: what is settled for it, as data."""

from __future__ import annotations

import asyncio
import logging
import math
import traceback
from collections.abc import Callable

from xqueue_core import __all__ as PUBLIC
from xqueue_core.errors import InvalidTask
from xqueue_core.handlers import HandlerSpec, Reject, Retry
from xqueue_core.task import (
    AnyOutcome,
    Canceled,
    Failed,
    Failure,
    HandBack,
    RetryAt,
    Success,
    Task,
)
from xqueue_core.text import storable
from xqueue_core.worker.frames import own_frames
from xqueue_core.worker.job import Job, Stage, Told

logger = logging.getLogger("xqueue.worker")

#: Longest traceback kept; its end says most, so the start is cut (bytes of text).
TRACEBACK = 8 * 1024
#: Longest message of an exception kept (characters).
MESSAGE = 2 * 1024

#: Gives a number from 0 to 1.
Random = Callable[[], float]

#: Settled for a running job that was told to end, by why; LOST settles nothing.
HANDED_BACK = HandBack(ran=True, reason="stop")


class BadArguments(Exception):
    """The payload does not decode into the handler's arguments."""


class BadResult(Exception):
    """The result cannot be encoded, or is too large."""


def unable(task: Task, spec: HandlerSpec | None) -> HandBack | None:
    """Why this worker can never run the task, or None if it can."""
    if not task.readable:
        return HandBack(unable="version", reason=f"envelope version {task.major} is newer")
    if spec is None:
        return HandBack(unable="type", reason=f"no handler for {task.type!r} here")
    return None


def of_value(job: Job, value: object, largest: int, random: Random) -> AnyOutcome:
    """The handler returned.

    A coroutine that was told to end and returned all the same has decided, and its result
    stands; so has middleware, whatever it surrounds. For plain functions see :func:`against`.
    """
    why = job.against  # what its function was told by the time it had returned into middleware
    if why is None and job.told is not Told.NOTHING and not job.spec.is_async:
        why = against(job.told, job.noticed)
    if why is Told.TIMEOUT:
        return timed_out(job, random)
    if why is Told.STOP:
        return HANDED_BACK
    try:
        body = b"null" if value is None else job.spec.encode_result(value)
        if len(body) > largest:
            raise BadResult(f"the result has {len(body)} bytes, and {largest} are allowed")
    except Exception as error:  # noqa: BLE001 - whatever an encoder raises is about the result
        return Failed(_failure("result", error))
    return Success(body)


def against(told: Told, noticed: bool) -> Told:
    """Why what a plain function returned does not stand; NOTHING if it does.

    One that did not look is not believed after its time-out; one that looked while the worker
    stops may have left work undone, so the task is handed back.
    """
    if told is Told.TIMEOUT and not noticed:
        return Told.TIMEOUT
    return Told.STOP if told is Told.STOP and noticed else Told.NOTHING


def plain_cancel(error: BaseException, cancelled: tuple[type[BaseException], ...]) -> BaseException:
    """A cancellation as asyncio has it, whichever of ``cancelled`` the event loop raises.

    A group of nothing else is one, too: a nursery of trio may make it of its children's.
    """
    alone = isinstance(error, cancelled)
    if type(error) is BaseExceptionGroup:
        alone = error.split(cancelled)[1] is None
    if not alone or isinstance(error, asyncio.CancelledError):
        return error
    return asyncio.CancelledError("the handler was cancelled").with_traceback(error.__traceback__)


def of_error(job: Job, error: BaseException, random: Random) -> AnyOutcome | None:
    """The handler raised; None if there is nothing to settle. Raises nothing itself."""
    try:
        return _of_error(job, error, random)
    except BaseException as broken:  # noqa: BLE001 - the retry policy may be the user's
        return _unmade(job, broken)


def _of_error(job: Job, error: BaseException, random: Random) -> AnyOutcome | None:
    if job.told is Told.LOST or job.stage is Stage.ENDED:
        return None
    if job.told is Told.TIMEOUT:
        return _timed_out(job, random, error)
    if isinstance(error, asyncio.CancelledError):
        if job.told is Told.CANCEL:
            return Canceled()
        if job.told is Told.STOP:
            return HANDED_BACK
    if isinstance(error, BadArguments):
        return Failed(_failure("payload", error.__cause__ or error))
    if isinstance(error, Reject):
        return Failed(_failure("rejected", error))
    policy = job.spec.retry
    if policy.no_retry and isinstance(error, policy.no_retry):
        return Failed(_failure("exception", error))
    delay, reason = None, "exception"
    if isinstance(error, Retry):
        delay, reason = error.delay, "retry"
    if delay is None:
        delay = _delay(job, random)
    return RetryAt(delay, _failure(reason, error))


def timed_out(job: Job, random: Random) -> AnyOutcome:
    """The attempt ran longer than allowed; the state machine ends it when none is left."""
    try:
        return _timed_out(job, random)
    except BaseException as broken:  # noqa: BLE001 - as above
        return _unmade(job, broken)


def _timed_out(job: Job, random: Random, error: BaseException | None = None) -> RetryAt:
    limit = job.delivery.task.process_timeout
    failure = Failure(
        "process_timeout",
        message=f"ran longer than {limit:g} {'second' if limit == 1 else 'seconds'}",
    )
    if error is not None and not isinstance(error, asyncio.CancelledError):
        failure = _failure("process_timeout", error)
    elif error is not None:
        failure.traceback = _text(error)
    return RetryAt(_delay(job, random), failure, timed_out=True)


def _delay(job: Job, random: Random) -> float:
    delay = job.spec.retry.delay(job.delivery.attempt, random)
    if not 0 <= delay < math.inf:
        raise ValueError(f"the retry policy of {job.spec.name!r} gave a delay of {delay!r}")
    return float(delay)


def _unmade(job: Job, broken: BaseException) -> Failed:
    """Why it failed cannot be said as wanted: the task must end all the same."""
    logger.error(
        "%s: no outcome could be made; is the retry policy in order?",
        job.id,
        exc_info=(type(broken), broken, broken.__traceback__),
    )
    return Failed(_failure("exception", broken))


def of_unstarted(why: Told) -> AnyOutcome | None:
    """A job that was told to end before it started."""
    if why is Told.LOST:
        return None
    if why is Told.CANCEL:
        return Canceled()
    return HandBack(reason="stop")


def _failure(reason: str, error: BaseException) -> Failure:
    # Of what XQueue itself has found wrong with arguments or a result, the sentence says all.
    own = reason in ("payload", "result") and isinstance(error, InvalidTask | BadResult)
    name = "InvalidResult" if own and reason == "result" else _name(type(error))
    try:
        message = str(error)[:MESSAGE]
    except BaseException as broken:  # noqa: BLE001 - a user's __str__ may do anything, exit too
        message = f"<no message: {type(broken).__name__}>"
    text = "" if own else _text(error)
    return Failure(reason, storable(name), storable(message)[:MESSAGE], text)


def _name(kind: type[BaseException]) -> str:
    """As it is imported: of Python's own, and of what `xqueue_core` offers, the name alone."""
    if kind is BadArguments:
        return "InvalidTask"
    name = kind.__qualname__
    ours = kind.__module__.startswith("xqueue_core.") and name in PUBLIC
    return name if ours or kind.__module__ == "builtins" else f"{kind.__module__}.{name}"


def _text(error: BaseException) -> str:
    try:
        text = "".join(traceback.format_exception(type(error), error, own_frames(error)))
    except BaseException:  # noqa: BLE001 - as above: formatting calls the user's code
        return ""
    raw = text.encode("utf-8", "backslashreplace")
    if len(raw) <= TRACEBACK:
        return raw.decode()
    cut = "[...]\n"
    return cut + raw[-(TRACEBACK - len(cut)) :].decode("utf-8", "ignore")
