"""Commands from outside: cancel, replay, unpark, pause and the rest."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from xqueue_core.calls import (
    Announce,
    AnyCommand,
    Cancel,
    Capabilities,
    Declare,
    Did,
    Locate,
    Order,
    Pause,
    Purge,
    Replay,
    Reschedule,
    Resume,
    Unpark,
    Verdict,
)
from xqueue_core.checks import misfit
from xqueue_core.commands import Leave, Said
from xqueue_core.errors import Unavailable
from xqueue_core.recurring.standing import Standing, announced
from xqueue_core.stored import layout, still
from xqueue_core.stored.layout import LaneRow, Orders, TypeRow, WorkerRow
from xqueue_core.stored.records import ANY, Change, Group, Scan
from xqueue_core.stored.tasks import ROUNDS, Applied, Job, Tasks, stated


class Controller:
    """The ``control`` of a stored queue."""

    def __init__(self, tasks: Tasks, capabilities: Capabilities) -> None:
        self._tasks = tasks
        self._capabilities = capabilities
        self._records = tasks.records
        self._rules: dict[type, Callable[[Any], Awaitable[Verdict]]] = {
            Unpark: self._unpark,
            Pause: self._pause,
            Resume: self._pause,
            Declare: self._declare,
            Locate: self._locate,
            Announce: self._announce,
            Order: self._order,
        }

    async def control(self, commands: Sequence[AnyCommand]) -> list[Verdict]:
        """See :meth:`xqueue_core.abc.TaskQueue.control`."""
        verdicts = [Verdict(Did.UNSUPPORTED)] * len(commands)
        jobs: list[tuple[int, Job]] = []
        carried_out: list[int] = []
        at = (await self._records.now()).wall
        with stated(carried_out):
            for i, command in enumerate(commands):
                if isinstance(command, Replay | Reschedule) and (
                    wrong := misfit(command, self._capabilities, at)
                ):
                    verdicts[i] = Verdict(Did.INVALID, reason=wrong)
                elif isinstance(command, Cancel | Replay | Purge | Reschedule):
                    jobs.append((i, Job(command.id, command)))
                elif type(command) in self._rules:
                    verdicts[i] = await self._rules[type(command)](command)
                    if not isinstance(command, Locate):
                        carried_out.append(i)
            if jobs:
                done = await self._apply([job for _, job in jobs])
                for (i, _), applied in zip(jobs, done, strict=True):
                    verdicts[i] = _verdict(applied)
        return verdicts

    async def _apply(self, jobs: list[Job]) -> list[Applied]:
        """Apply, following ids that turned out to stand for another task."""
        done = await self._tasks.apply(jobs)
        with stated(done):
            for i, applied in enumerate(done):
                record = applied.record
                if applied.said is Said.FINAL and record is not None and record.of:
                    job = Job(record.of, _renamed(jobs[i], record.of))
                    [again] = await self._tasks.apply([job])
                    done[i] = again._replace(of=record.of)
        return done

    async def _unpark(self, command: Unpark) -> Verdict:
        if command.count < 1:
            return Verdict(Did.APPLIED)
        bucket = layout.line(command.lane, command.key)
        [rows] = await self._records.scan([Scan(bucket, command.count)])
        done = await self._tasks.apply([Job(row.key[2:], Leave(), row) for row in rows])
        return Verdict(Did.APPLIED, count=sum(one.said is Said.APPLIED for one in done))

    async def _pause(self, command: Pause | Resume) -> Verdict:
        keys = [f"lane/{command.lane}", still.KIND + command.lane]
        wanted = isinstance(command, Pause)
        for _ in range(ROUNDS):
            row, waits = await self._records.load(keys)
            lane = layout.unpack(row, LaneRow) or LaneRow()
            if lane.paused == wanted:
                return Verdict(Did.APPLIED)
            at = (await self._records.now()).wall
            new = LaneRow(wanted, lane.paused_for(at), at)
            body = layout.pack(new)
            changes = [Change(keys[0], row.version if row else 0, body, layout.LANES)]
            if waits is not None and not wanted:
                changes.append(still.woken(command.lane, at))
            [done] = await self._records.swap([Group(changes)])
            if done:
                await self._tasks.ring([layout.ready(command.lane)])
                return Verdict(Did.APPLIED)
        raise Unavailable(f"lane {command.lane}: its row kept changing; try again")

    async def _declare(self, command: Declare) -> Verdict:
        keys = [f"type/{command.type}", f"lane/{command.lane}"]
        for _ in range(ROUNDS):
            declared, lane = await self._records.load(keys)
            known = layout.unpack(declared, TypeRow)
            if known is not None and known.lane == command.lane:
                return Verdict(Did.APPLIED)
            if known is not None and await self._live(known.lane, command.type):
                return Verdict(Did.CONFLICT, of=known.lane)
            body = layout.pack(TypeRow(command.lane))
            version = declared.version if declared else 0
            groups = [Group([Change(keys[0], version, body, layout.TYPES)])]
            if lane is None:
                groups.append(Group([Change(keys[1], 0, layout.pack(LaneRow()), layout.LANES)]))
            if (await self._records.swap(groups))[0]:
                return Verdict(Did.APPLIED)
        raise Unavailable(f"type {command.type}: its row kept changing; try again")

    async def _locate(self, command: Locate) -> Verdict:
        [row] = await self._records.load([f"type/{command.type}"])
        known = layout.unpack(row, TypeRow)
        return Verdict(Did.UNKNOWN) if known is None else Verdict(Did.APPLIED, of=known.lane)

    async def _live(self, lane: str, type_: str) -> bool:
        prefix = f"c/{lane}/{type_}/"
        counts = dict(await self._records.counts(prefix, "", 100))
        return any(counts.get(prefix + name) for name in ("scheduled", "pending", "processing"))

    async def _announce(self, command: Announce) -> Verdict:
        key = f"schedule/{command.schedule}"
        for _ in range(ROUNDS):
            [row] = await self._records.load([key])
            at = (await self._records.now()).wall
            new, verdict = announced(layout.unpack(row, Standing), command, at)
            if new is None:
                return verdict
            version = row.version if row else 0
            change = Change(key, version, layout.pack(new), layout.SCHEDULES)
            if (await self._records.swap([Group([change])]))[0]:
                return verdict
        raise Unavailable(f"schedule {command.schedule}: its row kept changing; try again")

    async def _order(self, command: Order) -> Verdict:
        key = f"worker/{command.worker}"
        body = layout.pack(Orders(command.quiet, command.stop))
        order = Change(f"orders/{command.worker}", ANY, body)
        for _ in range(ROUNDS):
            [worker] = await self._records.load([key])
            if worker is None or layout.unpack(worker, WorkerRow) is None:
                return Verdict(Did.UNKNOWN)
            # On condition that the worker is still there: nobody would take it away again.
            there = Change(key, worker.version, worker.body, worker.bucket, worker.order)
            if (await self._records.swap([Group([there, order])]))[0]:
                return Verdict(Did.APPLIED)
        raise Unavailable(f"worker {command.worker}: its row kept changing; try again")


def _renamed(job: Job, id: str) -> Any:
    """The same command for another task."""
    command = job.command
    if isinstance(command, Cancel):
        return Cancel(id, command.reason, command.request)
    if isinstance(command, Replay):
        return Replay(id, command.request, command.edit, command.delay)
    return command


_DID = {
    Said.APPLIED: Did.APPLIED,
    Said.REQUESTED: Did.REQUESTED,
    Said.REPEATED: Did.REPEATED,
    Said.DUPLICATE: Did.DUPLICATE,
    Said.FINAL: Did.FINAL,
    Said.LIVE: Did.LIVE,
    Said.RUNNING: Did.RUNNING,
    Said.CHANGED: Did.CHANGED,
    Said.UNKNOWN: Did.UNKNOWN,
    Said.INVALID: Did.INVALID,
    Said.UNSUPPORTED: Did.UNSUPPORTED,
}


def _verdict(applied: Applied) -> Verdict:
    did = _DID.get(applied.said, Did.UNKNOWN)
    return Verdict(did, of=applied.of, count=1 if did in (Did.APPLIED, Did.REQUESTED) else 0)
