"""What is known of one task, and of what it may wait for: gathered by a few calls."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

import anyio
import msgspec

from xqueue_core.calls import Line
from xqueue_core.errors import BrokerError, Unsupported
from xqueue_core.permits import KeyInfo, lane_key, task_key
from xqueue_core.task import State
from xqueue_core.views import Filter, LaneStats, Stats, TaskInfo, WorkerInfo
from xqueue_core.why.limits import MOST
from xqueue_core.why.obstacles import CannotTell, What

if TYPE_CHECKING:
    from xqueue_core.abc import Faces, Semaphore, TaskQueue, TaskView

T = TypeVar("T")

#: Tasks of its lane that are looked at for that, how many at a time, and in how many calls.
LOOKED, PAGE, CALLS = 4_000, 500, 20
#: Lines of keys looked at for a task's own, how many at a time.
LINES = 1_000
#: Seconds for the semaphore, which may be another broker than the one that has the task.
PATIENCE = 5.0
#: How often it is asked again if the task moved on meanwhile.
ROUNDS = 3


class Ahead(msgspec.Struct, kw_only=True):
    """Who comes before the task: in its lane, or, if it is parked, in its key's line."""

    count: int = 0
    higher: int = 0  # of them of a higher priority
    exact: bool = True  # False: there may be more


class Evidence(msgspec.Struct, kw_only=True):
    """What is known.

    Attributes:
        id: the task's.
        at: the broker's clock, UTC seconds.
        info: the task; None if the broker knows none.
        asked: the id that was asked for, if the task is the one it duplicates.
        stats: the ledger; None if it cannot be had.
        workers: all that are registered; None if they cannot be asked for.
        lane_limit: the limit of its lane; None if it cannot be asked for.
        key_limit: the limit of its key; None if it has none, or as above.
        line: how many wait in its key's line; None if that is not known.
        ahead: who comes before it; None if that is not known or of no interest.
        held: how many tasks its worker had at its last heartbeat, of those it has now, if it had
            this one; else None.
        untold: what cannot be known, and why.
        where: the broker, for sentences.
        resting: it is one for a test, in which nothing runs now.
        inline: there is none: each task runs within its submit.
    """

    id: str
    at: float
    info: TaskInfo | None = None
    asked: str = ""
    stats: Stats | None = None
    workers: list[WorkerInfo] | None = None
    lane_limit: KeyInfo | None = None
    key_limit: KeyInfo | None = None
    line: int | None = None
    ahead: Ahead | None = None
    held: int | None = None
    untold: list[CannotTell] = []
    where: str = ""
    resting: bool = False
    inline: bool = False

    @property
    def lane(self) -> LaneStats:
        """The ledger of the task's lane."""
        lanes = self.stats.lanes if self.stats is not None else {}
        return lanes.get(self.info.lane if self.info else "", LaneStats())

    @property
    def worker(self) -> WorkerInfo | None:
        """The worker that has the task; None if it is not known."""
        name = self.info.worker if self.info is not None else ""
        return next((one for one in self.workers or [] if one.beat.worker == name), None)

    @property
    def waits_there(self) -> bool:
        """True if its worker has more tasks than it runs, so that this one may wait there."""
        worker = self.worker
        return worker is not None and self.held is not None and self.held > worker.beat.running

    @property
    def leasable(self) -> int | None:
        """How many tasks of its lane may be leased; None if that is not known."""
        if self.stats is None:
            return None
        return sum(max(0, row.pending - row.parked) for row in self.lane.types.values())


async def gather(
    faces: Faces,
    id: str,
    *,
    ordered: bool = True,
    where: str = "",
    clock: Callable[[], float] = time.time,
) -> Evidence:
    """Ask for everything that matters: three calls, or seven if it waits, and pages of its lane.

    Args:
        faces: of an open connection.
        id: the task's.
        ordered: the broker keeps order per lane (``Capabilities.order_scope``).
        where: the broker, as sentences shall name it.
        clock: UTC seconds, used only if the broker does not tell its own.

    Raises:
        Unavailable, Unknown, Refused: the broker that has the task could not be asked.
    """
    view = faces.view
    if view is None:
        why = "this broker cannot be asked for tasks; name a view with XQUEUE_VIEW_URL"
        return Evidence(id=id, at=clock(), untold=[CannotTell(what="task", why=why)], where=where)
    found = Evidence(id=id, at=clock(), where=where)
    try:
        info, asked = await _followed(view, id)
        for _ in range(ROUNDS):
            found = await _around(faces, view, id if info is None else info.id, info, clock)
            [after] = await view.find([found.id])
            if _same(info, after):
                break
            info = after
    except Unsupported as error:
        found.untold = [CannotTell(what="task", why=str(error))]
        return found
    found.asked, found.where = asked, where
    if found.ahead is not None and found.ahead.count and not ordered:
        found.ahead.exact = False
    return found


async def _followed(view: TaskView, id: str) -> tuple[TaskInfo | None, str]:
    """The task, or the one that it duplicates; and in that case the id that was asked for."""
    [info] = await view.find([id])
    if info is None or not info.of or info.of == id:
        return info, ""
    [other] = await view.find([info.of])
    return (info, "") if other is None else (other, id)


def _same(before: TaskInfo | None, after: TaskInfo | None) -> bool:
    if before is None or after is None:
        return before is after
    return (before.seq, before.state) == (after.seq, after.state)


async def _around(
    faces: Faces, view: TaskView, id: str, info: TaskInfo | None, clock: Callable[[], float]
) -> Evidence:
    """What a task in this state may wait for."""
    found = Evidence(id=id, at=clock(), info=info, untold=[])
    found.stats = await _asked(found, "lane", view.stats)
    if found.stats is not None and found.stats.at:
        found.at = found.stats.at
    if info is None or info.state.final or info.quarantined:
        return found
    workers = await _asked(found, "workers", view.workers)
    found.workers = None if workers is None else list(workers)
    if info.state is State.PROCESSING:
        found.held = await _held(found, info, view)
        if found.waits_there:
            await _limits(found, info, faces.semaphore)
        return found
    await _limits(found, info, faces.semaphore)
    if info.waiting_for:
        found.line = await _line(faces.queue, info)
    if info.state is State.PENDING:
        await _order(found, info, view)
    return found


async def _asked(found: Evidence, what: What, call: Callable[[], Awaitable[T]]) -> T | None:
    """The answer; None, with a note of it, if the broker cannot tell."""
    try:
        return await call()
    except Unsupported as error:
        found.untold.append(CannotTell(what=what, why=str(error)))
        return None


async def _limits(found: Evidence, info: TaskInfo, semaphore: Semaphore | None) -> None:
    """Who is under the limits of its lane and key."""
    why = "this connection has no semaphore; give it that of the workers (XQUEUE_SEMAPHORE_URL)"
    if semaphore is not None:
        keys = [lane_key(info.lane)]
        if info.task is not None and info.task.key is not None:
            keys.append(task_key(info.lane, info.task.key))
        try:
            with anyio.fail_after(PATIENCE):
                infos: Sequence[KeyInfo | None] = await semaphore.inspect(keys)
            found.lane_limit, found.key_limit = (*infos, None)[:2]
            return
        except (Unsupported, BrokerError) as error:
            why = str(error)
        except TimeoutError:
            why = f"the semaphore has not answered within {PATIENCE:g} s"
    found.untold.append(CannotTell(what="limits", why=why))


async def _held(found: Evidence, info: TaskInfo, view: TaskView) -> int | None:
    """How many tasks its worker had at its last heartbeat, which tells how many of them run."""
    worker = found.worker
    if worker is None or not worker.alive or info.progress is not None:
        return None
    heard_at = found.at - worker.seen_ago
    if info.started_at >= heard_at:
        return None
    lanes = frozenset({info.lane, *worker.beat.lanes})
    wanted = Filter(states=frozenset({State.PROCESSING}), lanes=lanes)
    held, after = 0, None
    for _ in range(LOOKED // PAGE):
        try:
            page = await view.list(wanted, after, PAGE)
        except Unsupported:
            return None
        held += sum(one.worker == info.worker and one.started_at < heard_at for one in page.items)
        if (after := page.next) is None:
            return held
    return None


async def _line(queue: TaskQueue, info: TaskInfo) -> int | None:
    """How many wait in its key's line, all shards together; None if there are too many lines."""
    key = info.task.key if info.task else None
    waiting, after = 0, None
    for _ in range(CALLS):
        page = await queue.parked([info.lane], after, LINES)
        mine: list[Line] = [one for one in page.items if one.key == key]
        waiting += sum(one.waiting for one in mine)
        if (after := page.next) is None:
            return waiting
    return None


async def _order(found: Evidence, info: TaskInfo, view: TaskView) -> None:
    """Who comes before it. One that is alone is not looked for."""
    others = found.line if info.waiting_for else found.leasable
    if others is not None and others <= 1:
        found.ahead = Ahead()
        return
    found.ahead = await _asked(found, "order", lambda: _ahead(view, info))


async def _ahead(view: TaskView, info: TaskInfo) -> Ahead:
    ahead = Ahead()
    wanted = Filter(states=frozenset({State.PENDING}), lanes=frozenset({info.lane}))
    after: str | None = None
    looked = 0
    for _ in range(CALLS):
        page = await view.list(wanted, after, PAGE)
        for other in page.items:
            if other.id == info.id and page.in_order:
                return ahead  # nothing behind it comes before it
            if other.id != info.id and other.waiting_for == info.waiting_for:
                _count(ahead, info, other)
        looked += len(page.items)
        if (after := page.next) is None:
            return ahead
        if looked >= LOOKED or ahead.count > MOST:
            break
    ahead.exact = False
    ahead.count = min(ahead.count, MOST + 1)
    ahead.higher = min(ahead.higher, ahead.count)
    return ahead


def _count(ahead: Ahead, info: TaskInfo, other: TaskInfo) -> None:
    """Enter another task that waits like this one."""
    if not info.waiting_for:
        mine, theirs = (one.task.priority if one.task else 0 for one in (info, other))
        if theirs < mine:
            return
        if theirs > mine:
            ahead.count += 1
            ahead.higher += 1
            return
    if info.rank and other.rank:
        ahead.count += (other.rank, other.id) < (info.rank, info.id)
    elif other.due_at == info.due_at:
        ahead.exact = False  # put at the same moment, and their order is not told
    else:
        ahead.count += other.due_at < info.due_at
