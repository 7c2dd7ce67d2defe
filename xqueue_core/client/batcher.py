"""Turns many small calls into few large ones without making any of them wait for company.

An item that finds nothing under way is sent at once; while a call is under way, items gather
and go together in the next one. There is no timer. The idea is that of go-cloud's
``pubsub/batcher``; the loop is asyncio's, in which both the client and the engine live.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Generic, TypeVar

from xqueue_core.client.background import in_background

T = TypeVar("T")
R = TypeVar("R")

#: Sends a batch. The answer has its length and order; an exception in it is that item's alone.
Flush = Callable[[Sequence[T]], Awaitable[Sequence[R | Exception]]]


class Batcher(Generic[T, R]):
    """Gathers items of one event loop into batches.

    Args:
        flush: sends one batch; called again only when it has returned.
        size: most items in a batch.
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
        capacity: int = 10_000,
    ) -> None:
        self._flush = flush
        self._closed = closed
        self._over = False
        self._size = size
        self._capacity = capacity
        self._waiting: deque[tuple[T, asyncio.Future[R]]] = deque()
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
        if self._over:
            self._refuse(item, future)
            return future
        self._waiting.append((item, future))
        if self._sender is None:
            # A task of its own: a caller that is cancelled must not take others along. It
            # starts after the callers that are ready now, whose items thus go with this one.
            self._sender = in_background(self._send_all())
        return future

    async def add_many(self, items: Iterable[T]) -> list[R | Exception]:
        """Send many items; the answers, or each item's own exception, in their order."""
        answers: list[asyncio.Future[R]] = []
        try:
            for item in items:
                while self._full:
                    await self._have_room()
                answers.append(self.send(item))
            for answer in answers:
                # Answers come in batches, so nearly all of them are there already.
                if not answer.done():
                    await asyncio.wait([answer])
        except asyncio.CancelledError:
            for answer in answers:
                answer.cancel()
            raise
        return [_outcome(answer) for answer in answers]

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
        for item, answer in self._waiting:
            self._refuse(item, answer)
        self._waiting.clear()
        self._offer_room(len(self._room))

    def _refuse(self, item: T, answer: asyncio.Future[R]) -> None:
        if not answer.done():
            _tell(answer, self._closed(item))
            answer.exception()  # it was seen, even if the caller is gone by now

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

    def _take(self) -> list[tuple[T, asyncio.Future[R]]]:
        batch: list[tuple[T, asyncio.Future[R]]] = []
        while self._waiting and len(batch) < self._size:
            entry = self._waiting.popleft()
            if not entry[1].done():  # done: cancelled while it waited
                batch.append(entry)
        self._offer_room(self._capacity - len(self._waiting))
        return batch

    async def _send(self, batch: list[tuple[T, asyncio.Future[R]]]) -> None:
        answers: Sequence[R | Exception]
        try:
            answers = await self._flush([item for item, _ in batch])
        except asyncio.CancelledError:
            for item, future in batch:
                self._refuse(item, future)
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, it is its callers' to handle
            answers = [error] * len(batch)
        for (_, future), answer in zip(batch, answers, strict=True):
            if not future.done():
                _tell(future, answer)


def _tell(future: asyncio.Future[R], answer: R | Exception) -> None:
    if isinstance(answer, Exception):
        future.set_exception(answer)
    else:
        future.set_result(answer)


def _outcome(answer: asyncio.Future[Any]) -> Any:
    if answer.cancelled():
        raise asyncio.CancelledError("the batcher was closed")
    error = answer.exception()
    if error is None:
        return answer.result()
    if isinstance(error, Exception):
        return error
    raise error
