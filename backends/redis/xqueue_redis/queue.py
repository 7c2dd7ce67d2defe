"""The task queue on Redis: each call is one script for the whole batch."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from xqueue_core.abc import TaskQueue
from xqueue_core.calls import (
    Accepted,
    AnyCommand,
    Beat,
    BeatReply,
    Capabilities,
    Held,
    Hold,
    Leased,
    Line,
    Lines,
    Settle,
    Settled,
    Verdict,
    Want,
)
from xqueue_core.errors import BrokerError, Refused, Unavailable, Unknown, WorkerIdTaken
from xqueue_core.task import Task
from xqueue_redis.connection import RUN_ID
from xqueue_redis.controlling import Controller
from xqueue_redis.leasing import Leaser
from xqueue_redis.outcomes import arguments, size
from xqueue_redis.portions import portions
from xqueue_redis.putting import Putter
from xqueue_redis.upkeep import LONGEST, Upkeep

if TYPE_CHECKING:
    from xqueue_core.stored.options import StoredOptions
    from xqueue_redis.connection import Link

logger = logging.getLogger("xqueue.redis")

#: Seconds until upkeep is wanted again where nothing is known to be due before: what is put
#: meanwhile may soon have waited too long.
LOOK_AGAIN = 1.0
#: Least seconds until upkeep is wanted again, unless there was more than a portion: with many tasks
#: that come due one by one it would be wanted for each. Who leases finds them without it.
UPKEEP_EVERY = 0.25
#: Outcomes of one script: more would keep everybody else waiting.
PORTION = 500

_SETTLED = (Settled.LOST, Settled.REPEATED, Settled.APPLIED)
_HOLDS = (Hold.LOST, Hold.KEPT, Hold.CANCELED)

_encode = msgspec.msgpack.Encoder().encode


class RedisQueue(TaskQueue):
    """A whole ``TaskQueue``, as scripts that check owner and token.

    Args:
        upkeep: lets :meth:`maintain` do without the server while heartbeats, of whichever queue
            that shares it, say that nothing is due.
    """

    def __init__(
        self,
        link: Link,
        options: StoredOptions,
        capabilities: Capabilities | None = None,
        *,
        upkeep: Upkeep | None = None,
    ) -> None:
        self._upkeep = upkeep
        self._link = link
        self._options = options
        self._capabilities = capabilities or Capabilities(dedupe_horizon=options.dedupe_horizon)
        self._generation: bytes | None = None  # of the namespace, as it was last maintained
        self._putter = Putter(self._run, self._capabilities)
        self._leaser = Leaser(link)
        self._controller = Controller(link, options, self._capabilities)

    async def put(self, tasks: Sequence[Task]) -> Sequence[Accepted]:
        """See :meth:`xqueue_core.abc.TaskQueue.put`."""
        at = await self._now() if any(task.run_at is not None for task in tasks) else 0.0
        return await self._putter.put(tasks, at)

    async def lease(
        self, wants: Sequence[Want], limit: int, call: int, worker: str, wait: float
    ) -> Leased:
        """See :meth:`xqueue_core.abc.TaskQueue.lease`."""
        return await self._leaser.lease(wants, limit, call, worker, wait)

    async def settle(self, outcomes: Sequence[Settle]) -> Sequence[Settled]:
        """See :meth:`xqueue_core.abc.TaskQueue.settle`."""
        answers: list[Settled] = []
        for part in portions(map(arguments, outcomes), PORTION, size):
            given = [argument for one in part for argument in one]
            try:
                codes = await self._link.run("settle", *given)
            except BrokerError:
                if not answers:
                    raise
                # What was applied need not be sent again over a slow line. Of the rest, which is,
                # this portion is the first, so that what it fails of is raised then.
                return answers + [Settled.UNKNOWN] * (len(outcomes) - len(answers))
            answers += [_SETTLED[code] for code in codes]
        return answers

    async def extend(self, beat: Beat, held: Sequence[Held]) -> BeatReply:
        """See :meth:`xqueue_core.abc.TaskQueue.extend`."""
        told = (
            *(beat.worker, beat.lease, beat.heartbeat, beat.answered, beat.leaving),
            *(beat.number, beat.host, beat.pid, beat.started_at, beat.lanes),
        )
        holds = [(one.id, one.token, one.waits) for one in held]
        answer = await self._link.run(
            "extend", RUN_ID, _encode(beat), _encode(told), _encode(holds)
        )
        if answer[0] == b"taken":
            host, pid = answer[1].decode(), answer[2]
            raise WorkerIdTaken(
                f"worker {beat.worker} is pid {pid} on {host!r}, and alive: let every worker "
                "make an id of its own"
            )
        _, codes, paused, quiet, stop, now, due = answer
        if self._upkeep is not None:
            self._upkeep.heard(float(due) if due else None)
        return BeatReply(
            [_HOLDS[code] for code in codes],
            [lane.decode() for lane in paused],
            bool(quiet),
            bool(stop),
            float(now),
        )

    async def control(self, commands: Sequence[AnyCommand]) -> Sequence[Verdict]:
        """See :meth:`xqueue_core.abc.TaskQueue.control`."""
        return await self._controller.control(commands)

    async def maintain(self, budget: float) -> float:
        """See :meth:`xqueue_core.abc.TaskQueue.maintain`."""
        if self._upkeep is not None and (left := self._upkeep.spared()) > 0:
            return left
        until = time.monotonic() + budget
        options, longest = self._options, LOOK_AGAIN if self._upkeep is None else LONGEST
        given = (options.event_retention, options.dedupe_horizon, options.client_retry, longest)
        while True:
            answer = await self._link.run("maintain", RUN_ID, *given)
            wanted, more, generation, *buried = answer
            if generation != self._generation:
                # Not by a connect: somebody called FLUSHALL. It is told, and begun anew.
                self._generation = generation
                await self._link.look()
            for n in range(0, len(buried), 3):
                _tell_of_death(buried[n].decode(), float(buried[n + 1]), buried[n + 2])
            if not more:
                return self._wanted(float(wanted))
            if time.monotonic() >= until:
                return 0.0 if self._upkeep is None else self._upkeep.done(0.0)

    def _wanted(self, seconds: float) -> float:
        """Upkeep was done, and is wanted again then: seconds until it is to be asked for."""
        if self._upkeep is None:
            return seconds
        return self._upkeep.done(max(seconds, UPKEEP_EVERY))

    async def parked(self, lanes: Sequence[str], after: str | None, limit: int) -> Lines:
        """See :meth:`xqueue_core.abc.TaskQueue.parked`."""
        asked = _encode(sorted(set(lanes)))
        found: list[Any] = await self._link.run("parked", asked, after or "", limit)
        items = [
            Line(found[n].decode(), found[n + 1].decode(), found[n + 2], "", float(found[n + 3]))
            for n in range(0, len(found), 4)
        ]
        full = 0 < limit <= len(items)
        return Lines(items, f"{items[-1].lane}\0{items[-1].key}" if full else None)

    async def describe(self) -> Mapping[str, Any]:
        """The server's own view."""
        prefix = self._link.prefix
        return {
            "run_id": self._link.run_id,
            "wall": await self._now(),
            "events": await self._link.command("XLEN", f"{prefix}events"),
            "scheduled": await self._link.command("ZCARD", f"{prefix}later"),
            "workers": await self._link.command("HLEN", f"{prefix}workers"),
        }

    async def _now(self) -> float:
        seconds, micros = await self._link.command("TIME")
        return int(seconds) + int(micros) / 1e6

    async def _run(self, name: str, *given: Any, begun: bool) -> Any:
        """Run a script; with ``begun`` an earlier part of the same call has been carried out."""
        try:
            return await self._link.run(name, *given)
        except (Unavailable, Refused) as error:
            if begun:
                raise Unknown(f"a part of it was carried out, then: {error}") from error
            raise


def _tell_of_death(worker: str, lease: float, held: int) -> None:
    text = "worker %s has not been heard of for its lease (%g s): %d %s taken back"
    what = "delivery is" if held == 1 else "deliveries are"
    logger.warning(text, worker, lease, held, what)
