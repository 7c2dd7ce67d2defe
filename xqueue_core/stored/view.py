"""The view of a backend built over ``Records``. Reading changes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from xqueue_core.abc import TaskView
from xqueue_core.infos import enter_counts, lane_stats, may_expire, read_progress
from xqueue_core.recurring.standing import Standing
from xqueue_core.stored import layout
from xqueue_core.stored.infos import read_expiry, read_info
from xqueue_core.stored.layout import LaneRow, Orders, TypeRow, WorkerRow
from xqueue_core.stored.listing import counts, page, rows_of
from xqueue_core.stored.notifier import progress_key, read_event
from xqueue_core.stored.options import StoredOptions
from xqueue_core.stored.records import Now, Records, Row, Scan
from xqueue_core.task import Record
from xqueue_core.views import Filter, Schedule, Stats, TaskInfo, Tasks, TypeStats, WorkerInfo


class StoredView(TaskView):
    """What is in the store, for readers.

    Args:
        records: the store.
        options: the options of the whole backend.
    """

    def __init__(self, records: Records, options: StoredOptions) -> None:
        self._records = records
        self._options = options

    async def find(self, ids: Sequence[str]) -> Sequence[TaskInfo | None]:
        """Each task with its history, result and progress; a damaged one as quarantined."""
        if not ids:
            return []
        keys = [f"t/{id}" for id in ids] + [progress_key(id) for id in ids]
        rows = await self._records.load(keys)
        found = zip(rows, rows[len(ids) :], strict=False)
        infos = [None if row is None else _with_progress(row, latest) for row, latest in found]
        await self._expire(zip(infos, rows, strict=False))
        return infos

    async def list(self, filter: Filter, after: str | None, limit: int) -> Tasks:
        """A page of at most ``limit`` tasks that match, without results.

        A page may be short, or empty, before the end: ``next`` tells. A task that moves on
        between two pages may show twice. Raises ConfigError for text that is no cursor.
        """
        return await page(self._records, filter, after, limit)

    async def stats(self) -> Stats:
        """The ledger of every lane and type that was declared or used."""
        found = await counts(self._records, "c/")
        stats = Stats(at=(await self._records.now()).wall)
        for row in await rows_of(self._records, layout.LANES):
            paused = layout.unpack(row, LaneRow) or LaneRow()
            lane_stats(stats, row.key.removeprefix("lane/")).paused = paused.paused
        for row in await rows_of(self._records, layout.TYPES):
            declared = layout.unpack(row, TypeRow)
            if declared is not None:
                types = lane_stats(stats, declared.lane).types
                types.setdefault(row.key.removeprefix("type/"), TypeStats())
        enter_counts(stats, found.items())
        await self._oldest(stats)
        return stats

    async def workers(self) -> Sequence[WorkerInfo]:
        """Registered workers; one that died stays listed until its tasks are reclaimed."""
        now = await self._records.now()
        rows = await rows_of(self._records, layout.WORKERS)
        known = [(row, worker) for row in rows if (worker := layout.unpack(row, WorkerRow))]
        keys = [f"orders/{row.key.removeprefix('worker/')}" for row, _ in known]
        orders = await self._records.load(keys) if keys else ()
        return [
            _worker(worker, layout.unpack(ordered, Orders), now)
            for (_, worker), ordered in zip(known, orders, strict=True)
        ]

    async def schedules(self) -> Sequence[Schedule]:
        """Recurring schedules that were announced or have fired."""
        rows = await rows_of(self._records, layout.SCHEDULES)
        return [
            Schedule(
                name=row.key.removeprefix("schedule/"),
                version=one.version,
                last=one.last,
                rule=one.rule,
                seen=one.seen,
                fired=one.fired,
            )
            for row in rows
            if (one := layout.unpack(row, Standing)) is not None
        ]

    async def _expire(self, found: Iterable[tuple[TaskInfo | None, Row | None]]) -> None:
        """Fill in when those that wait will have waited too long."""
        waiting = [(info, row) for info, row in found if info and row and may_expire(info)]
        names = list(dict.fromkeys(info.lane for info, _ in waiting))
        if not names:
            return
        rows = await self._records.load([f"lane/{name}" for name in names])
        wall = (await self._records.now()).wall
        paused = {
            name: (layout.unpack(row, LaneRow) or LaneRow()).paused_for(wall)
            for name, row in zip(names, rows, strict=True)
        }
        for info, row in waiting:
            info.expires_at = read_expiry(row, info, paused[info.lane])

    async def _oldest(self, stats: Stats) -> None:
        """Fill in the acceptance of each lane's oldest task that may be leased."""
        busy = [
            name
            for name, lane in stats.lanes.items()
            if any(row.pending > row.parked for row in lane.types.values())
        ]
        # Within a level the first is the oldest, but for those that were handed back; of the
        # levels any may hold the oldest.
        scans = [
            Scan(layout.ready(name), 1, (-1, "") if level == 9 else layout.below(level + 1))
            for name in busy
            for level in range(10)
        ]
        found = await self._records.scan(scans) if scans else ()
        for n, name in enumerate(busy):
            heads = (row for rows in found[n * 10 : n * 10 + 10] for row in rows)
            stats.lanes[name].oldest_at = min(_accepted(heads), default=None)


def _with_progress(row: Row, latest: Row | None) -> TaskInfo | None:
    info = read_info(row)
    if info is not None and latest is not None:
        event = read_event(latest.body)
        # Progress of an earlier delivery says nothing about the present one.
        if event is not None and event.delivery >= info.delivery:
            info.progress = read_progress(event)
    return info


def _accepted(rows: Iterable[Row]) -> Iterable[float]:
    for row in rows:
        try:
            body = layout.unpack_task(row)
        except layout.Unreadable:
            continue
        if isinstance(body, Record):
            yield body.accepted_at


def _worker(row: WorkerRow, orders: Orders | None, now: Now) -> WorkerInfo:
    ago = now.steady - row.steady if row.epoch == now.epoch else now.wall - row.wall
    orders = orders or Orders()
    return WorkerInfo(
        beat=row.beat,
        seen_ago=max(0.0, ago),
        # Also one of another epoch: it has had no time to beat in this one (P1.4).
        alive=not row.dead and ago <= row.beat.lease,
        quiet=orders.quiet,
        stop=orders.stop,
    )
