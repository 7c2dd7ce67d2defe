"""Workers as commands show them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from xqueue_core.cli.output import Table
from xqueue_core.cli.shown.values import ago, iso
from xqueue_core.views import WorkerInfo

#: Heartbeats, or seconds if they come more often, after which a worker is late.
LATE = 3.0


def worker_data(one: WorkerInfo) -> dict[str, Any]:
    """A worker as JSON types."""
    beat = one.beat
    return {
        "id": beat.worker,
        "alive": one.alive,
        "quiet": one.quiet,
        "stop": one.stop,
        "leaving": beat.leaving,
        "draining": beat.draining,
        "seen_ago": round(one.seen_ago, 3),
        "host": beat.host,
        "pid": beat.pid,
        "started_at": iso(beat.started_at),
        "slots": beat.slots,
        "running": beat.running,
        "lanes": list(beat.lanes),
        "types": list(beat.types),
        "overdue": list(beat.overdue),
        "lease": beat.lease,
        "heartbeat": beat.heartbeat,
    }


def state_of(one: WorkerInfo) -> str:
    """In a word: dead, late, stopping, quiet or alive.

    One that was killed is dead when its lease ends; before, all there is to tell is that nothing
    is heard of it.
    """
    if not one.alive:
        return "dead"
    if one.beat.heartbeat and one.seen_ago > max(LATE * one.beat.heartbeat, LATE):
        return "late"
    if one.stopping:
        return "stopping"
    return "quiet" if one.quiet else "alive"


def workers_table(workers: Iterable[WorkerInfo]) -> Table:
    """A row for each worker."""
    columns = ("worker", "is", "seen", "host", "pid", "slots", "running", "overdue", "lanes")
    rows = [
        (
            one.beat.worker,
            state_of(one),
            f"{ago(one.seen_ago)} ago",
            one.beat.host,
            str(one.beat.pid or ""),
            one.beat.slots,
            one.beat.running,
            len(one.beat.overdue),
            " ".join(one.beat.lanes),
        )
        for one in workers
    ]
    return Table(columns, rows)
