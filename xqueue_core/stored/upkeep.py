"""Whatever time brings about: promotion, expiry, expunging, trimming."""

from __future__ import annotations

from collections.abc import Sequence

from xqueue_core.commands import Command, Expire, Expunge, Promote, Said
from xqueue_core.stored import layout, still
from xqueue_core.stored.layout import Unique
from xqueue_core.stored.records import Change, Group, Now, Row
from xqueue_core.stored.tasks import Job, Tasks

#: Rows whose alarms are served in one go.
BATCH = 500
#: Seconds until what could not be written is tried again.
AGAIN = 60.0
#: The event log is trimmed this often (seconds).
TRIM_EVERY = 60.0


class Upkeep:
    """Serves alarms. Several processes may serve the same one at once: the swap decides."""

    def __init__(self, tasks: Tasks) -> None:
        self._tasks = tasks
        self._records = tasks.records
        self._trimmed: float | None = None  # steady seconds of this process's last trim

    async def run_due(self, budget: float = 0.05) -> float | None:
        """Serve what is due, for about ``budget`` seconds; the wall time of the next alarm."""
        began = await self._records.now()
        while True:
            rows, following = await self._records.due(BATCH)
            if not rows:
                return following
            await self._serve(rows)
            now = await self._records.now()
            if now.steady - began.steady > budget:
                return now.wall

    async def trim(self) -> None:
        """Drop events older than their retention, now and then."""
        now = await self._records.now()
        if self._trimmed is None or now.steady - self._trimmed >= TRIM_EVERY:
            self._trimmed = now.steady
            await self._records.trim(now.wall - self._tasks.options.event_retention)

    async def _serve(self, rows: Sequence[Row]) -> None:
        now = await self._records.now()
        jobs: list[Job] = []
        groups: list[Group] = []
        for row in rows:
            if row.key.startswith("t/"):
                jobs.append(Job(row.key[2:], _wanted(row), row))
            elif row.key.startswith(still.KIND):
                found, further = await still.page(self._records, row, now)
                jobs += [Job(one.key[2:], still.LOOK, one) for one in found]
                groups.append(Group([further]))
            else:
                groups.append(Group([_other(row, now)]))
        if groups:
            await self._records.swap(groups)
        if jobs:
            done = list(zip(jobs, await self._tasks.each(jobs), strict=True))
            # A scheduled task that has waited too long expires as soon as it is due.
            again = [
                Job(job.id, Expire())
                for job, applied in done
                if applied and applied.said is Said.EARLY and isinstance(job.command, Promote)
            ]
            if again:
                await self._tasks.each(again)
            failed = [job.row for job, applied in done if applied is None and job.row]
            if failed:
                await self._records.swap([Group([_put_off(row, now)]) for row in failed])


def _wanted(row: Row) -> Command:
    """The command that a task's alarm stands for: its bucket tells."""
    kind = row.bucket.partition("/")[0]
    if kind == "later":
        return Promote()
    if kind in ("ready", "line"):
        return Expire()
    return Expunge()


def _put_off(row: Row, now: Now) -> Change:
    """Try again later what cannot be done now, or it would be found due at every look."""
    alarm = now.wall + AGAIN
    return Change(row.key, row.version, row.body, row.bucket, row.order, alarm)


def _other(row: Row, now: Now) -> Change:
    """What to do with an alarm that is not a task's."""
    if row.key.startswith("u/"):
        unique = layout.unpack(row, Unique)
        if unique is not None and (unique.until is None or unique.until > now.wall):
            return Change(row.key, row.version, row.body, alarm=unique.until)
        return Change(row.key, row.version, None)
    if row.key.startswith(("progress/", "left/", "orders/")):
        return Change(row.key, row.version, None)
    return Change(row.key, row.version, row.body, row.bucket, row.order)
