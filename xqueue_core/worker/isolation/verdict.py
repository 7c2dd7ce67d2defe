"""From how a child ended to the outcome of its task."""

from __future__ import annotations

from dataclasses import dataclass

from xqueue_core.task import AnyOutcome, Canceled, Failed, Failure, HandBack, RetryAt, Success
from xqueue_core.worker.isolation.process import how
from xqueue_core.worker.job import Job, Stage, Told
from xqueue_core.worker.outcomes import HANDED_BACK, Random, timed_out


@dataclass(slots=True, frozen=True)
class End:
    """How one task ended, as the pool saw it."""

    job: Job
    outcome: AnyOutcome | None = None  # what its child said
    why: Told = Told.NOTHING  # why its child was killed
    sent: bool = True  # a child was given it
    began: bool = False  # its child has said that it begins
    code: int | None = None  # the child's exit code, if it has ended
    fault: str = ""  # what was wrong with the child


def outcome_of(end: End, random: Random) -> AnyOutcome | None:
    """What is settled; None if nothing is. Raises nothing."""
    job = end.job
    if end.why is Told.LOST or job.stage is Stage.ENDED:
        return None
    # What had ended before the child was killed stands, if it is what was wanted.
    if end.outcome is not None and (end.why is Told.NOTHING or type(end.outcome) is Success):
        return end.outcome
    if end.why is Told.CANCEL:
        return Canceled()
    if end.sent and end.why is Told.TIMEOUT:
        return timed_out(job, random)
    if end.sent and end.why is Told.STOP:
        return HANDED_BACK
    if not end.began:
        return HandBack(reason="stop" if end.why is Told.STOP else "no child")
    return _crashed(end, random)


def _crashed(end: End, random: Random) -> RetryAt | Failed:
    """It died without a word: an attempt that failed, retried as the policy says."""
    job = end.job
    text = end.fault or "ended"
    if end.code is not None and not end.fault:
        text = how(end.code)
    failure = Failure("crashed", message=f"the child process {text}")
    try:
        delay = float(job.spec.retry.delay(job.delivery.attempt, random))
        if not 0 <= delay < float("inf"):
            raise ValueError(f"the retry policy of {job.spec.name!r} gave a delay of {delay!r}")
    except Exception as broken:  # noqa: BLE001 - the policy may be the user's
        failure.message += f"; its retry policy failed: {broken!r}"
        return Failed(failure)
    return RetryAt(delay, failure)
