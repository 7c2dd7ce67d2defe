"""Turns many small calls into few large ones without making any of them wait for company.

An item that finds nothing under way is sent at once; while a call is under way, items gather
and go together in the next one. There is no timer. The idea is that of go-cloud's
``pubsub/batcher``; the loop is asyncio's, in which both the client and the engine live.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Generic, TypeVar, cast

from xqueue_core.client.background import in_background

T = TypeVar("T")
R = TypeVar("R")

#: Sends a batch. The answer has its length and order; an exception in it is that item's alone.
Flush = Callable[[Sequence[T]], Awaitable[Sequence[R | Exception]]]


class _Many(Generic[R]):
    """The answers to many items of one caller: one future for all of them.

    Attributes:
        answers: in the items' order; None where there is none yet.
        over: the caller is gone.
    """

    __slots__ = ("_all", "_left", "answers", "over")

    def __init__(self) -> None:
        self.answers: list[R | Exception | None] = []
        self.over = False
        self._left = 0
        self._all: asyncio.Future[None] | None = None

    def expect(self) -> int:
        """One more answer: its place."""
        self._left += 1
        self.answers.append(None)
        return len(self.answers) - 1

    def tell(self, place: int, answer: R | Exception) -> None:
        """The answer to one item."""
        self.answers[place] = answer
        self._left -= 1
        if self._all is not None and not self._left and not self._all.done():
            self._all.set_result(None)

    async def told(self) -> list[R | Exception]:
        """All answers, once they are there."""
        if self._left:
            self._all = asyncio.get_running_loop().create_future()
            await self._all
        return cast("list[R | Exception]", self.answers)


#: An item that waits, or is under way; whom to tell of it; and its place among many.
_Entry = tuple[T, "asyncio.Future[R] | _Many[R]", int]


class Batcher(Generic[T, R]):
    """Gathers items of one event loop into batches.

    Args:
        flush: sends one batch; called again only when it has returned.
        size: most items in a batch.
        weigh: what an item weighs.
        load: most that the items of a batch weigh, if there is more than one.
        capacity: most items that wait; beyond it :meth:`add` waits for room (the brake).
        closed: what callers are told of their item who wait at the close, or come later: an
            error, or the answer if it is known by then.
    """

    def __init__(
        self,
        flush: Flush[T, R],
        *,
        closed: Callable[[T], R | Exception],
        size: int = 500,
        weigh: Callable[[T], int] | None = None,
        load: int = 0,
        capacity: int = 10_000,
    ) -> None:
        self._flush = flush
        self._closed = closed
        self._over = False
        self._size = size
        self._weigh = weigh
        self._load = load
        self._capacity = capacity
        self._waiting: deque[_Entry[T, R]] = deque()
        self._room: deque[asyncio.Future[None]] = deque()
        self._sender: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        """Items that wait; those under way are not counted."""
        return len(self._waiting)

    @property
    def idle(self) -> bool:
        """True if nothing waits or is under way."""
        return self._sender is None and not self._waiting

    async def add(self, item: T) -> R:
        """Send one item and return the answer to it; raises what the flush has for it.

        An item whose caller is cancelled before its batch was made is not sent.
        """
        while self._full:
            await self._have_room()
        return await self.send(item)

    @property
    def _full(self) -> bool:
        return len(self._waiting) >= self._capacity and not self._over

    def send(self, item: T) -> asyncio.Future[R]:
        """Send one item, without the brake; the answer comes as a future."""
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._enter((item, future, 0))
        return future

    def _enter(self, entry: _Entry[T, R]) -> None:
        if self._over:
            self._refuse(entry)
            return
        self._waiting.append(entry)
        if self._sender is None:
            # A task of its own: a caller that is cancelled must not take others along. It
            # starts after the callers that are ready now, whose items thus go with this one.
            self._sender = in_background(self._send_all())

    async def add_many(self, items: Iterable[T]) -> list[R | Exception]:
        """Send many items; the answers, or each item's own exception, in their order."""
        many = _Many[R]()
        try:
            for item in items:
                while self._full:
                    await self._have_room()
                self._enter((item, many, many.expect()))
            return await many.told()
        except asyncio.CancelledError:
            many.over = True
            raise

    async def drained(self) -> None:
        """Wait until nothing waits or is under way."""
        while self._sender is not None and not self._sender.done():
            await asyncio.wait([self._sender])

    async def close(self) -> None:
        """Cancel what is under way; whoever waits, or comes later, is told that it is closed."""
        self.abandon()
        if self._sender is not None:
            await asyncio.wait([self._sender])

    def abandon(self) -> None:
        """:meth:`close`, without a wait for the end."""
        self._over = True
        if self._sender is not None:
            self._sender.cancel()
        for entry in self._waiting:
            self._refuse(entry)
        self._waiting.clear()
        self._offer_room(len(self._room))

    def _refuse(self, entry: _Entry[T, R]) -> None:
        item, caller, _ = entry
        if not _gone(caller):
            _tell(entry, self._closed(item))
            if not isinstance(caller, _Many):
                caller.exception()  # it was seen, even if the caller is gone by now

    async def _have_room(self) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._room.append(future)
        try:
            await future
        except asyncio.CancelledError:
            # The room offered to this caller must not be lost to the next in line.
            if future.done() and not future.cancelled():
                self._offer_room(1)
            raise

    def _offer_room(self, places: int) -> None:
        while places > 0 and self._room:
            future = self._room.popleft()
            if not future.done():
                future.set_result(None)
                places -= 1

    async def _send_all(self) -> None:
        try:
            while batch := self._take():
                await self._send(batch)
        finally:
            self._sender = None

    def _take(self) -> list[_Entry[T, R]]:
        batch: list[_Entry[T, R]] = []
        left = self._load
        while self._waiting and len(batch) < self._size:
            entry = self._waiting[0]
            if not _gone(entry[1]):  # it may be cancelled while it waited
                if self._weigh is not None:
                    left -= self._weigh(entry[0])
                    if left < 0 and batch:
                        break
                batch.append(entry)
            self._waiting.popleft()
        if self._room:
            self._offer_room(self._capacity - len(self._waiting))
        return batch

    async def _send(self, batch: list[_Entry[T, R]]) -> None:
        answers: Sequence[R | Exception]
        try:
            answers = await self._flush([entry[0] for entry in batch])
        except asyncio.CancelledError:
            for entry in batch:
                self._refuse(entry)
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, it is its callers' to handle
            answers = [error] * len(batch)
        for entry, answer in zip(batch, answers, strict=True):
            if not _gone(entry[1]):
                _tell(entry, answer)


def _gone(caller: asyncio.Future[Any] | _Many[Any]) -> bool:
    """True if nobody waits for an answer any more."""
    return caller.over if type(caller) is _Many else cast("asyncio.Future[Any]", caller).done()


def _tell(entry: _Entry[T, R], answer: R | Exception) -> None:
    _, caller, place = entry
    if isinstance(caller, _Many):
        caller.tell(place, answer)
    elif isinstance(answer, Exception):
        caller.set_exception(answer)
    else:
        caller.set_result(answer)
