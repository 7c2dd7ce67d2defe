"""The task queue over ``Records`` and ``Bell``: each duty is an object of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from xqueue_core.abc import TaskQueue
from xqueue_core.calls import (
    Accepted,
    AnyCommand,
    Beat,
    BeatReply,
    Capabilities,
    Held,
    Leased,
    Line,
    Lines,
    Settle,
    Settled,
    Verdict,
    Want,
)
from xqueue_core.commands import Said
from xqueue_core.stored.controlling import Controller
from xqueue_core.stored.holding import Keeper
from xqueue_core.stored.leasing import Leaser
from xqueue_core.stored.lending import lender
from xqueue_core.stored.options import StoredOptions
from xqueue_core.stored.putting import Putter
from xqueue_core.stored.records import Bell, Records
from xqueue_core.stored.tasks import Job, Tasks
from xqueue_core.stored.upkeep import Upkeep
from xqueue_core.task import Task

_SETTLED = {Said.APPLIED: Settled.APPLIED, Said.REPEATED: Settled.REPEATED}


class StoredQueue(TaskQueue):
    """A whole ``TaskQueue`` built over a store. Its promises are those of ``Records``."""

    def __init__(
        self,
        records: Records,
        bell: Bell,
        options: StoredOptions | None = None,
        capabilities: Capabilities | None = None,
    ) -> None:
        capabilities = capabilities or Capabilities()
        tasks = Tasks(records, bell, options or StoredOptions())
        self._records = records
        self._tasks = tasks
        self._upkeep = Upkeep(tasks)
        self._putter = Putter(tasks, capabilities)
        self._leaser = Leaser(tasks, self._upkeep.run_due)
        self._keeper = Keeper(tasks)
        self._controller = Controller(tasks, capabilities)

    async def put(self, tasks: Sequence[Task]) -> Sequence[Accepted]:
        return await self._putter.put(tasks)

    async def lease(
        self, wants: Sequence[Want], limit: int, call: int, worker: str, wait: float
    ) -> Leased:
        return await self._leaser.lease(wants, limit, call, worker, wait)

    async def settle(self, outcomes: Sequence[Settle]) -> Sequence[Settled]:
        take = self._tasks.recent.take
        done = await self._tasks.apply([Job(one.id, one, recent=take(one.id)) for one in outcomes])
        return [_SETTLED.get(one.said, Settled.LOST) for one in done]

    async def extend(self, beat: Beat, held: Sequence[Held]) -> BeatReply:
        return await self._keeper.extend(beat, held)

    async def control(self, commands: Sequence[AnyCommand]) -> Sequence[Verdict]:
        return await self._controller.control(commands)

    async def maintain(self, budget: float) -> float:
        following = await self._upkeep.run_due(budget)
        wanted = await self._keeper.reclaim()
        await self._upkeep.trim()
        if following is None:
            return wanted
        return max(0.0, min(wanted, following - (await self._records.now()).wall))

    async def parked(self, lanes: Sequence[str], after: str | None, limit: int) -> Lines:
        items: list[Line] = []
        for lane in sorted(set(lanes)):
            prefix = f"k/{lane}/"
            if after is not None and after >= prefix + "\U0010ffff":
                continue
            begin = after if after is not None and after.startswith(prefix) else ""
            rows = await self._records.counts(prefix, begin, limit - len(items))
            items += [Line(lane, name[len(prefix) :], n) for name, n in rows]
            if len(items) >= limit:
                last = items[-1]
                return Lines(items, f"k/{last.lane}/{last.key}")
        return Lines(items)

    async def describe(self) -> Mapping[str, Any]:
        now = await self._records.now()
        log = await self._records.log(None, 0)
        return {
            "store": type(lender(self._records)).__name__,
            "wall": now.wall,
            "epoch": now.epoch,
            "events": {"first": log.first, "last": log.last},
        }
