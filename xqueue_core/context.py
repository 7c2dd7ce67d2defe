"""What a handler may know of its task, and do for it while it runs."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from xqueue_core.foreign import CONTEXT, tells
from xqueue_core.task import Progress, bounded
from xqueue_core.text import storable

if TYPE_CHECKING:
    from datetime import datetime

    from xqueue_core.calls import Delivery
    from xqueue_core.task import Slot
    from xqueue_core.testing.contexts import RehearsedContext


class Run(Protocol):
    """The running task, as seen by its context: supplied by the worker."""

    def told(self) -> bool:
        """True once the handler has been asked to end."""

    def left(self) -> float | None:
        """Seconds until ``process_timeout``, or None."""

    def report(self, progress: Progress) -> None:
        """Keep the latest progress; safe from any thread, never blocks."""


@tells(CONTEXT)
class Context:
    """Given to a handler whose first parameter is annotated with it.

    Attributes:
        id: the task's full id, ``<type>:<token>``.
        type: the task's type.
        lane: the lane it queued in.
        attempt: 1 for the first attempt.
        token: fencing token of this delivery; it grows with every delivery of the task, so a
            store that remembers the largest one seen can refuse a worker that was left behind.
        accepted_at: when the task was accepted, UTC seconds by the broker's clock.
        headers: what the producer attached.
        slot: of a recurring schedule: which of its slots this is (``ctx.slot.at``); else None.
        worker: id of the worker that runs it.
        app: the app the handler belongs to, to submit more tasks.
        state: what the app's ``lifespan`` has yielded; None without one.
    """

    __slots__ = (
        "_run",
        "accepted_at",
        "app",
        "attempt",
        "headers",
        "id",
        "lane",
        "slot",
        "state",
        "token",
        "type",
        "worker",
    )

    def __init__(
        self, delivery: Delivery, run: Run, worker: str = "", app: Any = None, state: Any = None
    ) -> None:
        task = delivery.task
        self.id = task.id
        self.type = task.type
        self.lane = task.lane
        self.attempt = delivery.attempt
        self.token = delivery.token
        self.accepted_at = delivery.accepted_at
        self.headers: Mapping[str, str] = task.headers
        self.slot = task.slot
        self.worker = worker
        self.app = app
        self.state = state
        self._run = run

    @property
    def remaining(self) -> float | None:
        """Seconds until ``process_timeout`` ends this attempt, or None if it has none."""
        return self._run.left()

    @property
    def canceled(self) -> bool:
        """True once this attempt should end: canceled, timed out, lost, or the worker stops.

        A coroutine is cancelled as well. A plain function in a thread cannot be stopped: a long
        one looks here now and then, saves what it wants to and returns early. If the worker
        stops (it tells what is left when the grace time is over), whatever a plain function
        returns after it has seen True here is dropped, and the task is handed back to run again
        elsewhere. If it was canceled or timed out, the result stands. Where it should not, end
        by :meth:`check`.
        """
        return self._run.told()

    def check(self) -> None:
        """End this attempt here if it should end; else do nothing. For plain functions.

        Raises:
            asyncio.CancelledError: :attr:`canceled` is True. Let it pass: the task then becomes
                canceled, is retried after its time-out, or is handed back if the worker stops.
        """
        if self._run.told():
            raise asyncio.CancelledError("this attempt was told to end")

    async def progress(
        self,
        percent: float | None = None,
        message: str = "",
        *,
        done: float | None = None,
        total: float | None = None,
    ) -> None:
        """Report how far the task is: ``percent`` (0 to 100), or ``done`` of ``total``.

        A percentage beyond its bounds is taken for the nearer one: a slip in it fails no task.
        Published at most five times a second; the latest report wins and the last one is
        always sent. Never waits for the broker, and is lost if the broker is away.
        """
        self._run.report(Progress(bounded(percent), done, total, storable(message)))

    def progress_nowait(
        self,
        percent: float | None = None,
        message: str = "",
        *,
        done: float | None = None,
        total: float | None = None,
    ) -> None:
        """:meth:`progress` for plain functions: may be called from any thread."""
        self._run.report(Progress(bounded(percent), done, total, storable(message)))

    async def submit(self, type: str, /, **arguments: Any) -> Any:
        """Submit a task by its type's name through :attr:`app`; answers its handle."""
        return await self.app.submit(type, **arguments)

    def __repr__(self) -> str:
        return f"<Context {self.id} attempt {self.attempt}>"

    @staticmethod
    def for_test(
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
    ) -> RehearsedContext:
        """A context to call a handler with in a test, without any queue.

        It keeps what is reported as ``ctx.reported``, says that the handler is to end from
        ``ctx.tell()`` on, and that so many seconds are left by ``ctx.leave(seconds)``.

        Args:
            id: the full id, which tells the type.
            attempt: 1 or more.
            lane: by default named like the type.
            token, accepted_at, headers, state, app, worker: see the attributes.
            remaining: seconds until the time-out; None: there is none.
            slot: of a recurring schedule; a datetime stands for a slot at that time of a schedule
                named like the type.

        Raises:
            InvalidTask: ``id`` is none.
            ConfigError: there is no such attempt, or the time of the slot has no zone.
        """
        from xqueue_core.testing.contexts import RehearsedContext

        return RehearsedContext(
            id,
            attempt,
            lane=lane,
            token=token,
            accepted_at=accepted_at,
            headers=headers,
            remaining=remaining,
            state=state,
            slot=slot,
            app=app,
            worker=worker,
        )
