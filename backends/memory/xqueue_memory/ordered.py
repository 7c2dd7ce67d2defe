"""A set kept in order."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator
from typing import Any, Generic, TypeVar

T = TypeVar("T", bound=Any)

#: Most items in one chunk: inserting moves at most this many.
_CHUNK = 1_000


class Ordered(Generic[T]):
    """Distinct items in order; adding and removing stay cheap with a million of them.

    The items lie in chunks; ``_lasts`` holds the last item of each, to find the right one.
    """

    __slots__ = ("_chunks", "_lasts")

    def __init__(self) -> None:
        self._chunks: list[list[T]] = []
        self._lasts: list[T] = []

    def __bool__(self) -> bool:
        return bool(self._chunks)

    def add(self, item: T) -> None:
        """Add an item that is not in the set."""
        if not self._chunks:
            self._chunks.append([item])
            self._lasts.append(item)
            return
        at = min(bisect_left(self._lasts, item), len(self._chunks) - 1)
        chunk = self._chunks[at]
        insort(chunk, item)
        if len(chunk) > _CHUNK:
            half = len(chunk) // 2
            self._chunks.insert(at + 1, chunk[half:])
            self._lasts.insert(at + 1, chunk[-1])
            del chunk[half:]
        self._lasts[at] = chunk[-1]

    def remove(self, item: T) -> None:
        """Remove an item that is in the set."""
        at = bisect_left(self._lasts, item)
        chunk = self._chunks[at]
        del chunk[bisect_left(chunk, item)]
        if chunk:
            self._lasts[at] = chunk[-1]
        else:
            del self._chunks[at], self._lasts[at]

    def behind(self, item: T) -> Iterator[T]:
        """The items greater than this one, in order. Ends at the first change of the set."""
        at = bisect_right(self._lasts, item)
        if at < len(self._chunks):
            chunk = self._chunks[at]
            yield from chunk[bisect_right(chunk, item) :]
        for chunk in self._chunks[at + 1 :]:
            yield from chunk

    def __iter__(self) -> Iterator[T]:
        for chunk in self._chunks:
            yield from chunk
