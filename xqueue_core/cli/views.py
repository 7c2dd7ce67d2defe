"""Questions to the broker's view, as calls of an open connection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xqueue_core.connect import Connection
    from xqueue_core.permits import KeyInfo
    from xqueue_core.views import Schedule, Stats, TaskInfo, WorkerInfo


async def asked_stats(connection: Connection) -> Stats:
    """The ledger. Raises Unsupported if the broker cannot be asked."""
    stats: Stats = await connection.faces.needed("view").stats()
    return stats


async def asked_tasks(connection: Connection, ids: Sequence[str]) -> Sequence[TaskInfo | None]:
    """Each of these tasks, None if unknown. Raises Unsupported if the broker cannot be asked."""
    infos: Sequence[TaskInfo | None] = await connection.faces.needed("view").find(ids)
    return infos


async def asked_workers(connection: Connection) -> Sequence[WorkerInfo]:
    """The registered workers. Raises Unsupported if the broker cannot be asked."""
    workers: Sequence[WorkerInfo] = await connection.faces.needed("view").workers()
    return workers


async def asked_schedules(connection: Connection) -> Sequence[Schedule]:
    """The recurring schedules. Raises Unsupported if the broker cannot be asked."""
    schedules: Sequence[Schedule] = await connection.faces.needed("view").schedules()
    return schedules


async def asked_limits(connection: Connection, lanes: Sequence[str]) -> Mapping[str, KeyInfo]:
    """Limit and holders of each lane; none of a broker without a semaphore."""
    semaphore = connection.faces.semaphore
    if semaphore is None or not lanes:
        return {}
    from xqueue_core.permits import lane_key

    infos = await semaphore.inspect([lane_key(lane) for lane in lanes])
    return dict(zip(lanes, infos, strict=True))
