"""An async iterator that is advanced step by step, from another thread or another kind of loop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from enum import Enum, auto
from typing import Any, Final, Generic, Literal, TypeVar

T = TypeVar("T")

logger = logging.getLogger("xqueue")


class End(Enum):
    """What a stream gives behind its last item."""

    END = auto()


END: Final = End.END


class Stream(Generic[T]):
    """Made anywhere; all its methods are called on the loop of asyncio that it lives on.

    Args:
        make: makes the iterator, at the first step.

    Attributes:
        among: the streams of this loop that have begun and not ended.
    """

    def __init__(self, make: Callable[[], AsyncIterator[T]]) -> None:
        self._make = make
        self._items: AsyncIterator[T] | None = None
        self._under_way: asyncio.Task[object] | None = None
        self._ending: asyncio.Task[None] | None = None
        self.among: set[Stream[Any]] = set()

    async def step(self) -> T | Literal[End.END]:
        """The next item, or ``END``. Raises what the iterator raises; one step at a time."""
        if self._items is None:
            self._items = self._make()
            self.among.add(self)
        self._under_way = asyncio.current_task()
        try:
            return await anext(self._items, END)
        finally:
            self._under_way = None

    def leave(self) -> None:
        """Nobody takes another step: see that it ends."""
        if self._ending is None:
            self._ending = asyncio.create_task(self._end())

    async def end(self) -> None:
        """Cancel a step that is under way, and close the iterator."""
        self.leave()
        if self._ending is not None:
            await asyncio.wait([self._ending])

    async def _end(self) -> None:
        if self._under_way is not None:
            self._under_way.cancel()
            await asyncio.wait([self._under_way])
        close = getattr(self._items, "aclose", None)
        try:
            if close is not None:
                await close()
        except Exception:
            logger.exception("a stream that was broken off failed at its end")
        finally:
            self.among.discard(self)
