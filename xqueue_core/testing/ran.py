"""What a rehearsal ran."""

from __future__ import annotations

from collections.abc import Coroutine, Generator
from dataclasses import dataclass
from typing import Any


@dataclass(slots=True, frozen=True)
class Run:
    """One attempt that ended.

    Attributes:
        id: the task's full id.
        attempt: 1 for the first.
        how: ``success``, ``failed``, ``retry`` (the attempt failed; another was wanted),
            ``timeout`` or ``canceled``.
        error: what the handler raised, or None.
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
    """The attempts that ended, in their order. Within a coroutine it is to be awaited first."""

    def __init__(self) -> None:
        super().__init__()
        self._work: Coroutine[Any, Any, None] | None = None

    def by(self, work: Coroutine[Any, Any, None]) -> Ran:
        """Have it filled when it is awaited. One that never is, Python itself complains of."""
        self._work = work
        return self

    def __await__(self) -> Generator[Any, Any, Ran]:
        """Do the work; itself, filled."""
        work, self._work = self._work, None
        if work is not None:
            yield from work.__await__()
        return self
