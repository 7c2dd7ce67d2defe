"""The reasons of a task that a worker has: it runs, or its worker keeps it from ending."""

from __future__ import annotations

from xqueue_core.task import Progress
from xqueue_core.views import TaskInfo, WorkerInfo
from xqueue_core.why.evidence import Evidence
from xqueue_core.why.holding import lane_limit
from xqueue_core.why.kinds import AnyReason
from xqueue_core.why.past import lost
from xqueue_core.why.running import CancelRequested, Fetched, Overdue, Processing, Silent


def leased(evidence: Evidence, info: TaskInfo) -> list[AnyReason]:
    """Why it has not ended; the last but for the past is always that a worker has it."""
    mine = evidence.worker
    found: list[AnyReason] = []
    if evidence.workers is not None and (silent := _silent(evidence, info, mine)) is not None:
        found.append(silent)
    if info.cancel_requested:
        found.append(CancelRequested(worker=info.worker))
    if (overdue := _overdue(evidence, info, mine)) is not None:
        found.append(overdue)
    stuck = overdue is not None and overdue.stuck
    found.append(_processing(evidence, info, stuck=stuck))
    if mine is not None and evidence.held is not None and evidence.waits_there:
        found.append(
            Fetched(
                worker=info.worker,
                holds=evidence.held,
                running=mine.beat.running,
                slots=mine.beat.slots,
            )
        )
        if (full := lane_limit(evidence, info)) is not None:
            found.append(full)
    if (losses := lost(info)) is not None:
        found.append(losses)
    return [*found, *evidence.untold]


def _silent(evidence: Evidence, info: TaskInfo, mine: WorkerInfo | None) -> Silent | None:
    others = [one for one in evidence.workers or [] if one.beat.worker != info.worker]
    living = sum(one.alive for one in others)
    if mine is None:
        return Silent(worker=info.worker, seen_ago=None, living=living)
    if mine.alive and mine.seen_ago <= patience(mine):
        return None
    left = max(0.0, mine.beat.lease - mine.seen_ago) if mine.alive else 0.0
    return Silent(worker=info.worker, seen_ago=mine.seen_ago, lost_in=left, living=living)


def patience(worker: WorkerInfo) -> float:
    """Seconds after which a worker that was not heard of is worth a word."""
    return max(2 * worker.beat.heartbeat, worker.beat.lease / 5)


def _overdue(evidence: Evidence, info: TaskInfo, mine: WorkerInfo | None) -> Overdue | None:
    timeout = info.task.process_timeout if info.task is not None else None
    over = 0.0 if timeout is None else evidence.at - info.started_at - timeout
    stuck = mine is not None and info.id in mine.beat.overdue
    if over <= 0 and not stuck:
        return None
    return Overdue(worker=info.worker, timeout=timeout, over=max(0.0, over), stuck=stuck)


def _processing(evidence: Evidence, info: TaskInfo, *, stuck: bool) -> Processing:
    mine = evidence.worker
    return Processing(
        worker=info.worker,
        since_at=info.started_at,
        seconds=max(0.0, evidence.at - info.started_at),
        attempt=info.attempt,
        attempts=info.task.max_retry + 1 if info.task is not None else 0,
        progress=_said(info.progress),
        stuck=stuck,
        stopping=mine is not None and mine.alive and mine.stopping,
    )


def _said(progress: Progress | None) -> str:
    if progress is None:
        return ""
    parts = [progress.message] if progress.message else []
    if progress.percent is not None:
        parts.insert(0, f"{progress.percent:g} %")
    elif progress.done is not None:
        of = f" of {progress.total:g}" if progress.total is not None else ""
        parts.insert(0, f"{progress.done:g}{of}")
    return ", ".join(parts)
