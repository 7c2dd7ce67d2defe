"""Fires recurring schedules: every worker does, and the broker lets each slot pass once.

There is no leader. Whoever fired a schedule's last slot puts the next one at its time; the others
look a moment later whether it was, and only then put it themselves. So a slot costs one put and
a short look by each other worker, and is a fraction of a second late when that worker has died.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from xqueue_core.calls import Ability, Accepted, Announce, Did, Put, Verdict
from xqueue_core.errors import BrokerError, Unknown, Unsupported
from xqueue_core.ids import Uuid7
from xqueue_core.recurring.schedule import Recurring
from xqueue_core.worker.brokertime import BrokerTime
from xqueue_core.worker.tools import Backoff, Tools

if TYPE_CHECKING:
    from xqueue_core.abc import TaskQueue
    from xqueue_core.connect import Connection
    from xqueue_core.task import Task

logger = logging.getLogger("xqueue.worker")

#: Seconds between two announcements that a schedule is still declared, roughly.
ANNOUNCE = 15.0
#: Seconds for which a newer rule must not have been heard of before the one it replaced is taken
#: up again. A worker that is alive is heard of three times in it.
SILENCE = 60.0
#: How much later than their time others look after a slot, at most (seconds).
STAGGER = 0.2
#: Longest sleep (seconds): the broker's clock may be set meanwhile.
LONGEST = 1.0
#: Shortest sleep (seconds).
SHORTEST = 0.001
#: Tasks in one put, and announcements in one call.
BATCH = 200


class Scheduler:
    """Announces and fires schedules until it is cancelled.

    Args:
        time: the broker's clock; nothing fires early by it.
    """

    def __init__(
        self, queue: TaskQueue, schedules: Iterable[Recurring], time: BrokerTime, tools: Tools
    ) -> None:
        self._queue = queue
        self._time = time
        self._tools = tools
        self._uuid = Uuid7(lambda: int(tools.wall() * 1e9), tools.random.randbytes)
        self._entries = [_Entry(one, tools) for one in schedules]
        self._announce_at = -math.inf  # steady
        for entry in self._entries:
            entry.task(0.0, self._uuid)  # what is wrong with its call shows now

    @property
    def wake(self) -> float:
        """When the next slot is to be looked after, by the broker's clock; infinite: never."""
        return min((entry.wake for entry in self._entries), default=math.inf)

    def alone(self) -> None:
        """No other worker fires these schedules: fire each slot at its time, as its owner does.

        Until a call to the broker fails.
        """
        for entry in self._entries:
            entry.own()

    async def begin(self) -> None:
        """Announce all schedules, so that their slots count from now on.

        Raises:
            BrokerError: try again.
            Unsupported: the broker keeps no schedules.
        """
        await self._announce(self._entries)

    async def run(self) -> None:
        """Fire what is due, again and again."""
        backoff = Backoff(self._tools)
        while True:
            await self._tools.sleep(self._pause())
            try:
                await self._turn()
            except Exception as error:
                if not isinstance(error, BrokerError):
                    logger.exception("firing schedules failed in an unexpected way")
                for entry in self._entries:
                    entry.lost_contact()
                if await backoff.wait() == 1:
                    logger.warning("schedules cannot be fired now: %s", error)
            else:
                backoff.reset()

    def _pause(self) -> float:
        left = min(self.wake - self._time.now(), self._announce_at - self._tools.clock())
        return min(max(left, SHORTEST), LONGEST)

    async def _turn(self) -> None:
        """Announce and fire whatever it is time for."""
        now = self._time.now()
        due = [entry for entry in self._entries if entry.wake <= now]
        if self._tools.clock() >= self._announce_at:
            await self._announce(self._entries)
        elif others := [entry for entry in due if not entry.mine]:
            await self._announce(others)
        await self._fire(due)

    async def _announce(self, entries: Sequence[_Entry]) -> None:
        """Say that these schedules are declared here; learn their versions and last slots."""
        clock = self._tools.clock()
        for n in range(0, len(entries), BATCH):
            part = entries[n : n + BATCH]
            now = self._time.now()
            verdicts = await self._queue.control([one.announcement(clock, now) for one in part])
            for entry, verdict in zip(part, verdicts, strict=True):
                entry.told(verdict, clock, self._time.now())
        if len(entries) == len(self._entries):
            self._announce_at = clock + ANNOUNCE * self._tools.random.uniform(0.8, 1.2)

    async def _fire(self, entries: Sequence[_Entry]) -> None:
        now = self._time.now()
        slots = [(entry, at) for entry in entries for at in entry.due(now)]
        for n in range(0, len(slots), BATCH):
            part = slots[n : n + BATCH]
            tasks = [entry.task(at, self._uuid) for entry, at in part]
            answers = await self._queue.put(tasks)
            for (entry, at), task, answer in zip(part, tasks, answers, strict=True):
                entry.fired(at, task, answer)
            if any(answer.put is Put.UNKNOWN for answer in answers):
                raise Unknown("whether some slots were fired is not known")


class _Entry:
    """One schedule, as far as this worker knows how it stands.

    Attributes:
        wake: when this worker is to look after the next slot, by the broker's clock.
        mine: this worker fired the last slot, so it fires the next one, too.
    """

    __slots__ = (
        "_conflicts",
        "_first",
        "_last",
        "_next",
        "_schedule",
        "_tools",
        "_version",
        "mine",
        "wake",
    )

    def __init__(self, schedule: Recurring, tools: Tools) -> None:
        self._schedule = schedule
        self._tools = tools
        self._version = 0  # 0 while another rule is in force
        self._last = -math.inf
        self._next = math.inf
        self._first = 0.0  # when it was first announced
        # When another rule was in force, without a break: steady and the broker's clock.
        self._conflicts: deque[tuple[float, float]] = deque()
        self.wake = math.inf
        self.mine = False

    def announcement(self, clock: float, now: float) -> Announce:
        """What to say to the broker."""
        seen = self._conflicts
        while len(seen) > 1 and clock - seen[1][0] >= SILENCE:
            seen.popleft()
        unheard = 0.0
        if seen and clock - seen[0][0] >= SILENCE:
            # The broker's clock may have been set since, forward or back: the earlier counts.
            unheard = min(seen[0][1], now - SILENCE)
        return Announce(self._schedule.name, self._schedule.text, self._first, unheard)

    def told(self, verdict: Verdict, clock: float, now: float) -> None:
        """What the broker answers."""
        self._first = self._first or now
        name, text = self._schedule.name, self._schedule.text
        if verdict.did is Did.APPLIED:
            if verdict.count != self._version:
                logger.info("schedule %r: version %d, %s", name, verdict.count, text)
                self._last = -math.inf
            self._conflicts.clear()
            self._version = verdict.count
            self._passed(max(self._last, verdict.at))
        elif verdict.did is Did.CONFLICT:
            if not self._conflicts:
                logger.info("schedule %r: a newer rule is in force: %s", name, verdict.of)
            self._conflicts.append((clock, now))
            self._version, self.mine = 0, False
            self._next = self.wake = math.inf
        else:
            raise Unsupported(
                f"the broker keeps no recurring schedules, so {name!r} would fire once for each "
                f"worker (answer: {verdict.did})"
            )

    def due(self, now: float) -> list[float]:
        """The slots to put now."""
        if now < self._next:
            return []
        slots = self._schedule.due(self._last, now)
        if not slots or slots[0] > self._next:
            text = "schedule %r: slots were missed; firing %d of them"
            logger.info(text, self._schedule.name, len(slots))
        if not slots:
            self._passed(self._schedule.rule.latest(now))
        return slots

    def task(self, at: float, uuid: Uuid7) -> Task:
        """A task for a slot."""
        return self._schedule.task(at, self._version, uuid)

    def fired(self, at: float, task: Task, answer: Accepted) -> None:
        """What became of a slot's task."""
        if answer.put is Put.UNKNOWN:
            return
        if answer.put is Put.REJECTED:
            logger.error("schedule %r: a slot was refused: %s", self._schedule.name, answer.error)
        # A duplicate of another task, not of its slot: the run before is live, and it gave way.
        gave_way = answer.put is Put.DUPLICATE and answer.of not in ("", task.id)
        self.mine = gave_way or answer.put in (Put.NEW, Put.UNDECIDED)
        self._passed(at)

    def own(self) -> None:
        """This worker is to fire the next slot."""
        self.mine = True
        self.wake = self._next

    def lost_contact(self) -> None:
        """A call failed: others may have fired since, and silence says nothing."""
        self.mine = False
        self._conflicts.clear()

    def _passed(self, at: float) -> None:
        """This slot is the last one, or was."""
        rule = self._schedule.rule
        self._last = max(self._last, at)
        self._next = self.wake = rule.next(self._last)
        if not self.mine and self._next < math.inf:
            gap = rule.next(self._next) - self._next
            self.wake += min(STAGGER, gap / 4) * self._tools.random.uniform(0.3, 1.0)


def scheduler(
    schedules: Iterable[Recurring], connection: Connection, time: BrokerTime, tools: Tools
) -> Scheduler | None:
    """What fires these schedules; None if there are none.

    Raises Unsupported if the broker cannot tell that a slot was fired before.
    """
    found = list(schedules)
    if not found:
        return None
    if Ability.DEDUPE not in connection.capabilities.abilities:
        names = ", ".join(repr(one.name) for one in found)
        raise Unsupported(f"recurring schedules ({names}) need a broker with the ability DEDUPE")
    return Scheduler(connection.faces.queue, found, time, tools)
