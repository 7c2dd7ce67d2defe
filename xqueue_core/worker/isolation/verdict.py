"""From how a child ended to the outcome of its task."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from xqueue_core.task import AnyOutcome, Canceled, Failed, Failure, HandBack, RetryAt, Success
from xqueue_core.worker.isolation.process import how
from xqueue_core.worker.job import Job, Stage, Told
from xqueue_core.worker.outcomes import HANDED_BACK, Random, timed_out

#: So often in a row a child may die after it was given a task and before that began; then it is the
#: task that has failed. Each time it waits: for 1 s, then 2.
DEATHS = 3
#: Most tasks of which that is remembered.
REMEMBERED = 1_000


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


class Deaths:
    """How often in a row, in this worker, children have died with a task before it began."""

    def __init__(self) -> None:
        self._times: OrderedDict[str, int] = OrderedDict()

    def count(self, end: End) -> int:
        """This one included; 0 if this is another end. Counted anew once it has failed for it."""
        times = self._times.pop(end.job.id, 0)
        if not end.sent or end.began or end.why is not Told.NOTHING:
            return 0
        if times + 1 < DEATHS:
            self._times[end.job.id] = times + 1
            if len(self._times) > REMEMBERED:
                self._times.popitem(last=False)
        return times + 1


def outcome_of(end: End, random: Random, deaths: int = 1) -> AnyOutcome | None:
    """What is settled; None if nothing is. Raises nothing.

    Args:
        deaths: as :class:`Deaths` counts this end.
    """
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
    if not end.sent:
        return HandBack(reason="stop" if end.why is Told.STOP else "no child")
    if not end.began and deaths < DEATHS:
        # Not the task's fault, most likely; but at once, and for ever, it would be tried again.
        return HandBack(unable="no child", reason=died(end)[:200])
    return _crashed(end, random)


def died(end: End) -> str:
    """How its child ended, in words."""
    text = end.fault or ("ended" if end.code is None else how(end.code))
    return f"the child process {text}{'' if end.began else ' before the task began'}"


def _crashed(end: End, random: Random) -> RetryAt | Failed:
    """It died without a word: an attempt that failed, retried as the policy says."""
    job = end.job
    failure = Failure("crashed", message=died(end))
    try:
        delay = float(job.spec.retry.delay(job.delivery.attempt, random))
        if not 0 <= delay < float("inf"):
            raise ValueError(f"the retry policy of {job.spec.name!r} gave a delay of {delay!r}")
    except Exception as broken:  # noqa: BLE001 - the policy may be the user's
        failure.message += f"; its retry policy failed: {broken!r}"
        return Failed(failure)
    return RetryAt(delay, failure)
