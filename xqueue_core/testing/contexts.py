"""The context of a handler that a test calls by itself: ``Context.for_test()``."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from xqueue_core.calls import Delivery
from xqueue_core.context import Context
from xqueue_core.errors import ConfigError
from xqueue_core.ids import split_id
from xqueue_core.task import Slot, Task

if TYPE_CHECKING:
    from xqueue_core.task import Progress


class _Rehearsed:
    """A :class:`~xqueue_core.context.Run` that the test decides on."""

    def __init__(self, remaining: float | None) -> None:
        self.is_told = False
        self.remaining = remaining
        self.reported: list[Progress] = []

    def told(self) -> bool:
        return self.is_told

    def left(self) -> float | None:
        return self.remaining

    def report(self, progress: Progress) -> None:
        self.reported.append(progress)


class RehearsedContext(Context):
    """A context without a worker: it keeps what is reported, and is told what a test wants."""

    __slots__ = ("_rehearsed",)

    def __init__(
        self,
        id: str = "test:0",
        attempt: int = 1,
        *,
        lane: str | None = None,
        token: int = 1,
        accepted_at: float = 0.0,
        headers: Mapping[str, str] | None = None,
        remaining: float | None = None,
        state: Any = None,
        slot: Slot | datetime | None = None,
        app: Any = None,
        worker: str = "test",
    ) -> None:
        """See :meth:`xqueue_core.context.Context.for_test`."""
        type_, _ = split_id(id)
        if attempt < 1:
            raise ConfigError(f"the first attempt is 1, not {attempt!r}")
        task = Task(
            id=id,
            lane=type_ if lane is None else lane,
            headers=dict(headers or {}),
            slot=_slot(slot, type_),
        )
        self._rehearsed = _Rehearsed(remaining)
        delivery = Delivery(task=task, token=token, attempt=attempt, accepted_at=accepted_at)
        super().__init__(delivery, self._rehearsed, worker, app, state)

    @property
    def reported(self) -> list[Progress]:
        """Every progress that was reported, in order: ``percent``, ``message``, ``done``, ..."""
        return self._rehearsed.reported

    def tell(self, told: bool = True) -> None:
        """Ask the handler to end, or no longer: :attr:`canceled` says so from now on."""
        self._rehearsed.is_told = told

    def leave(self, remaining: float | None) -> None:
        """Have so many seconds left until the time-out; None: it has none."""
        self._rehearsed.remaining = remaining

    async def submit(self, type: str, /, **arguments: Any) -> Any:
        """As in a worker. Raises ConfigError if it was given no app."""
        if self.app is None:
            raise ConfigError(
                "this context has no app to submit with: Context.for_test(app=app), within "
                "`with app.testing():`"
            )
        return await super().submit(type, **arguments)


def _slot(slot: Slot | datetime | None, type_: str) -> Slot | None:
    if not isinstance(slot, datetime):
        return slot
    if slot.tzinfo is None:
        raise ConfigError(f"Context.for_test(slot=...) needs a time zone, and {slot!r} has none")
    return Slot(type_, 1, slot.timestamp())
