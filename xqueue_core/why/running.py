"""The reasons of a task that a worker has, as data."""

from __future__ import annotations

from xqueue_core.why.reasons import Reason
from xqueue_core.why.words import many, moment, span


class Processing(Reason, frozen=True, kw_only=True, tag="processing"):
    """A worker has it. Whether its handler has begun is not told to the broker.

    Attributes:
        since_at: when it was leased; ``seconds`` ago.
        attempts: how many there may be in all; 0 if that is not known.
        progress: what the handler last reported, "" if nothing.
        stuck: its time is over, but its code cannot be stopped.
        stopping: the worker drains: it hands back what does not end within its grace time.
    """

    worker: str
    since_at: float
    seconds: float
    attempt: int
    attempts: int = 0
    progress: str = ""
    stuck: bool = False
    stopping: bool = False

    def _sentence(self) -> str:
        of = f" of {self.attempts}" if self.attempts else ""
        said = f"; it last reported: {self.progress}" if self.progress else ""
        runs = "" if self.stuck else ": it runs, or is about to"
        ends = "; that worker is stopping, and hands back what does not end within its grace time"
        runs += ends if self.stopping else ""
        return (
            f"The worker {self.worker} has had it since {moment(self.since_at)}, for "
            f"{span(self.seconds)}, attempt {self.attempt}{of}{said}{runs}."
        )


class Fetched(Reason, frozen=True, kw_only=True, tag="fetched"):
    """Its worker has more tasks than it runs, so that it may wait there; by the last heartbeat.

    Attributes:
        holds: how many tasks the worker had then, of those it has now.
        running: how many of its tasks had started.
        slots: how many can run at once there; 0 if that is not told.
    """

    worker: str
    holds: int
    running: int
    slots: int = 0

    def _sentence(self) -> str:
        full = self.slots and self.running >= self.slots
        what = "a slot" if full else "a permit, a thread or a child process"
        return (
            f"{self.worker} has {many(self.holds, 'task')} and runs {self.running} of them, by its "
            f"last heartbeat, so this one may be among those that wait there for {what}: wait, or "
            "lower `prefetch` if another worker is idle."
        )


class Overdue(Reason, frozen=True, kw_only=True, tag="overdue"):
    """A worker has had it for longer than its ``process_timeout``.

    ``stuck``: the worker says that its code outlives the time-out and cannot be stopped.
    """

    worker: str
    timeout: float | None
    over: float
    stuck: bool = False

    def _sentence(self) -> str:
        if self.stuck:
            return (
                f"Its code in {self.worker} outlives its process_timeout and cannot be stopped: "
                "let it call ctx.check(), use isolation='process', or end that worker."
            )
        return (
            f"The worker {self.worker} has had it for {span(self.over)} longer than its "
            f"process_timeout of {span(self.timeout or 0.0)}: it waited there before it began, or "
            "its end is being recorded, or that worker hangs; look into its log."
        )


class Silent(Reason, frozen=True, kw_only=True, tag="worker_silent"):
    """The worker that has it has not been heard of.

    Attributes:
        seen_ago: seconds since its last heartbeat; None if it is not registered any more.
        lost_in: seconds until it counts as lost if none comes; 0 if it does.
        living: how many other workers live, which then take the task up.
    """

    worker: str
    seen_ago: float | None
    lost_in: float = 0.0
    living: int = 0

    def _sentence(self) -> str:
        if self.seen_ago is None:
            head = f"The worker {self.worker} that has it is not registered any more"
        else:
            head = (
                f"The worker {self.worker} that has it was last heard of {span(self.seen_ago)} ago"
            )
        if self.lost_in > 0:
            return (
                f"{head}: it counts as lost in {span(self.lost_in)}, and then the task starts "
                "again elsewhere; see whether it lives and reaches the broker."
            )
        if not self.living:
            return f"{head} and counts as lost: no worker lives to take the task up, so start one."
        return f"{head} and counts as lost: living workers take the task up within a few seconds."


class CancelRequested(Reason, frozen=True, kw_only=True, tag="cancel_requested"):
    """Somebody canceled it, and its handler has not ended yet."""

    worker: str

    def _sentence(self) -> str:
        return (
            f"Its cancel was requested and the worker {self.worker} is told with its next "
            "heartbeat: a coroutine is then canceled, a plain function has to call ctx.check() or "
            "look at ctx.canceled."
        )
