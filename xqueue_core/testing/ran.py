"""What a rehearsal ran."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any


@dataclass(slots=True, frozen=True)
class Run:
    """One attempt that ended.

    Attributes:
        id: the task's full id.
        attempt: 1 for the first.
        how: ``success``, ``retry`` (it failed, and another is to follow), ``failed``,
            ``timeout`` or ``canceled``.
        error: what the handler raised, or None. Of a success: InvalidResult if what it returned
            does not fit its return annotation.
    """

    id: str
    attempt: int
    how: str
    error: BaseException | None = None

    @property
    def type(self) -> str:
        """The task's type."""
        return self.id.partition(":")[0]


class Ran(list[Run]):
    """The attempts that ended, in their order.

    Within a coroutine, what is said to answer it answers a coroutine that does when awaited.
    """

    def __await__(self) -> Generator[Any, Any, Ran]:
        """Itself: for type checkers, and for who awaits what was done at once."""
        yield from ()
        return self
