"""How a batch is cut into calls, so that each ends within its time over a slow line, too."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final, TypeVar

T = TypeVar("T")

#: Bytes of one call: with 5 seconds for each, 200 KB/s are enough. More would save nothing, for
#: what a call costs by itself is little beside these.
BYTES: Final = 1024 * 1024


def portions(items: Iterable[T], most: int, size: Callable[[T], int]) -> Iterator[list[T]]:
    """Lists of up to ``most`` items, and of up to :data:`BYTES` if there is more than one in it.

    Args:
        items: taken only when a list of them is wanted, but for the one behind its end.
        most: items of one list.
        size: bytes of an item.
    """
    part: list[T] = []
    left = BYTES
    for item in items:
        left -= size(item)
        if part and (left < 0 or len(part) >= most):
            yield part
            part, left = [], BYTES - size(item)
        part.append(item)
    if part:
        yield part
