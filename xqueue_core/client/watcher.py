"""Waits for tasks to end: one subscription and one slow poll for all who wait on a loop.

Events may be late or lost on their way, and a subscription takes a moment to begin; so each
waiting task is looked up when its wait begins, when an event says that it ended, and now and
then in between. What an event says is only a hint: the answer is always what was looked up.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextvars import Context
from functools import partial
from typing import Any

from xqueue_core.abc import Notice
from xqueue_core.client.background import in_background
from xqueue_core.client.batcher import Batcher
from xqueue_core.client.closed import closed
from xqueue_core.client.retrying import Retrying
from xqueue_core.client.still import Idle, refuse_in_vain
from xqueue_core.connect import Connection
from xqueue_core.errors import BrokerError, Refused, Unsupported
from xqueue_core.handlers import RetryPolicy
from xqueue_core.task import EventName
from xqueue_core.views import Filter, TaskInfo

logger = logging.getLogger("xqueue")

#: First, second, ... pause between polls, and the longest (seconds); drawn with full jitter.
POLLS = RetryPolicy(base=0.5, cap=10.0)
#: The longest where no events come (seconds).
POLL_ALONE = 0.5
#: How far a view may be behind what was accepted (seconds).
BEHIND = 0.5
_ENDINGS = Filter(names=frozenset({EventName.FINISHED, EventName.EXPUNGED}))


class _Wait:
    """The callers that wait for one task."""

    __slots__ = ("futures", "seen")

    def __init__(self) -> None:
        self.futures: set[asyncio.Future[TaskInfo | None]] = set()
        self.seen = False

    def tell(self, info: TaskInfo | None) -> None:
        """Answer the callers, if this is an answer: the task has ended, or is gone."""
        if info is not None:
            self.seen = True
        if (info is None and self.seen) or (info and (info.state.final or info.of)):
            for future in self.futures:
                if not future.done():
                    future.set_result(info)

    def fail(self, error: BaseException) -> None:
        """Let the callers raise this."""
        for future in self.futures:
            if not future.done():
                future.set_exception(error)
                future.exception()  # it was seen, even if the caller is gone by now


class Watcher:
    """Waits and look-ups of one event loop."""

    def __init__(
        self,
        connect: Callable[[], Awaitable[Connection]],
        retrying: Retrying,
        *,
        polls: RetryPolicy = POLLS,
    ) -> None:
        self._connect = connect
        self._retrying = retrying
        self._polls = polls
        self._waits: dict[str, _Wait] = {}
        self._looks: Batcher[str, TaskInfo | None] = Batcher(
            self._look, capacity=1_000_000, closed=lambda _: closed()
        )
        self._over = False
        self._idle: Idle | None = None  # of the connection, once something was looked up
        self._round = 0
        self._tasks: list[asyncio.Task[None]] = []

    async def find(self, id: str) -> TaskInfo | None:
        """The task as it is now; None if it is unknown. Look-ups at one time travel together."""
        return await self._looks.add(id)

    async def ended(self, id: str) -> TaskInfo | None:
        """Wait until the task has ended or turned out a duplicate; None if it is unknown.

        An outage of the broker only makes the wait longer, except at its very beginning. Raises
        NothingRuns in a rehearsal in which nothing runs it.
        """
        if self._over:
            raise closed()
        future: asyncio.Future[TaskInfo | None] = asyncio.get_running_loop().create_future()
        self._waits.setdefault(id, _Wait()).futures.add(future)
        try:
            self._begin()
            # This look-up answers the future too, if the task has ended.
            if await self._looks.add(id) is None:
                # A view that is folded from events may be behind; so it is asked once more.
                await self._retrying.runtime.sleep(BEHIND)
                if await self._looks.add(id) is None:
                    return None
            if self._idle is not None:
                await refuse_in_vain(self._idle, id, future, partial(self._looks.add, id))
            return await future
        finally:
            wait = self._waits.get(id)
            if wait is not None:
                wait.futures.discard(future)
                if not wait.futures:
                    del self._waits[id]

    async def close(self) -> None:
        """Stop. Callers that still wait are told so by Unavailable."""
        tasks = list(self._tasks)
        self.abandon()
        await _cancelled(tasks)
        await self._looks.close()

    def abandon(self) -> None:
        """:meth:`close`, without a wait for the end."""
        self._over = True
        for task in self._tasks:
            task.cancel()
        self._looks.abandon()
        for wait in self._waits.values():
            wait.fail(closed())

    def _begin(self) -> None:
        if not self._tasks:
            self._round = 0
            self._tasks = [self._spawn(self._listen()), self._spawn(self._poll())]

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = in_background(work)
        task.add_done_callback(self._stopped, context=Context())
        return task

    def _stopped(self, task: asyncio.Task[None]) -> None:
        """What ends the watching by an error ends every wait with that error."""
        if task.cancelled() or (error := task.exception()) is None:
            return
        for wait in self._waits.values():
            wait.fail(error)
        for other in self._tasks:
            other.cancel()
        self._tasks = []

    # -- looking ------------------------------------------------------------------------------

    async def _look(self, ids: Sequence[str]) -> Sequence[TaskInfo | None]:
        distinct = list(dict.fromkeys(ids))
        found = await self._retrying(partial(self._find, distinct))
        infos = dict(zip(distinct, found, strict=True))
        for id, info in infos.items():
            if (wait := self._waits.get(id)) is not None:
                wait.tell(info)
        return [infos[id] for id in ids]

    async def _find(self, ids: Sequence[str]) -> Sequence[TaskInfo | None]:
        connection = await self._connect()
        self._idle = connection.idle
        found: Sequence[TaskInfo | None] = await connection.faces.needed("view").find(ids)
        return found

    async def _look_at_all(self) -> None:
        for answer in await self._looks.add_many(list(self._waits)):
            if isinstance(answer, Exception) and not isinstance(answer, BrokerError):
                raise answer

    async def _poll(self) -> None:
        while True:
            self._round += 1
            await self._retrying.runtime.sleep(
                self._polls.delay(self._round, self._retrying.runtime.random)
            )
            if not self._waits:
                break
            await self._look_at_all()
        # Nobody waits any more: stop listening too, until somebody does.
        listening = self._tasks[0]
        self._tasks = []
        await _cancelled([listening])

    # -- listening ----------------------------------------------------------------------------

    async def _listen(self) -> None:
        cursor: str | None = None
        attempt = 0
        while True:
            try:
                connection = await self._connect()
                async for notice in _notices(connection, cursor):
                    cursor, attempt = notice.cursor, 0
                    await self._heed(notice)
            except (Unsupported, Refused) as error:
                logger.debug("no events, so the ends of tasks are polled for: %s", error)
                self._polls = RetryPolicy(base=POLL_ALONE, cap=POLL_ALONE)
                return
            except BrokerError as error:
                logger.debug("events are interrupted: %s", error)
            attempt += 1
            retrying = self._retrying
            await retrying.runtime.sleep(retrying.policy.delay(attempt, retrying.runtime.random))
            self._round = 0  # a new subscription: what it may miss at its beginning is polled

    async def _heed(self, notice: Notice) -> None:
        if notice.event is None:  # events are missing here
            await self._look_at_all()
        elif notice.event.id in self._waits:
            self._looks.send(notice.event.id).add_done_callback(_ignored)


def _notices(connection: Connection, after: str | None) -> AsyncIterator[Notice]:
    if connection.faces.notifier is None:
        raise Unsupported("this connection has no notifier")
    return connection.faces.notifier.subscribe(_ENDINGS, after)


def _ignored(look: asyncio.Future[Any]) -> None:
    # A look-up that failed is repeated by the poll.
    if not look.cancelled():
        look.exception()


async def _cancelled(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)
