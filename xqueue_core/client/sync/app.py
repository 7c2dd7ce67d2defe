"""An app from the side of plain code: ``app.sync``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Never, TypeVar

from xqueue_core.client.call import listed
from xqueue_core.client.sync.handle import SyncHandle, as_completed
from xqueue_core.foreign import APP, DECLARING, tells

if TYPE_CHECKING:
    from typing import Self

    from xqueue_core.app import XQueue
    from xqueue_core.client.call import Call

R = TypeVar("R")


@tells(APP, DECLARING)
class SyncApp:
    """Submits and awaits tasks from plain code, without an event loop of its own.

    One daemon thread per app and process carries all of it out, over one connection. It starts
    with the first call, and again after :meth:`close`. Any thread may use it, also one of a
    program that runs an event loop elsewhere, and so may a forked child, which starts a thread
    and a connection of its own. Whatever interrupts a call, as KeyboardInterrupt does, ends it at
    once. On a running event loop of asyncio or trio, which would be blocked, all that wait for
    the broker raise Unsupported, and say what to write there.
    """

    __slots__ = ("_app",)

    def __init__(self, app: XQueue) -> None:
        self._app = app

    def submit(self, name: str, /, *args: Never, **arguments: Any) -> SyncHandle[Any]:
        """Submit a task by the name of its type, which this app or another has declared.

        See :meth:`XQueue.submit` for what holds of types that this app does not declare.

        Raises:
            UnknownType: nobody has declared it; the message names the known types.
            InvalidTask, PayloadTooLarge, ConfigError, Unsupported, Unavailable, Unknown: as
                ``submit`` of a handler.
        """
        return SyncHandle(
            self._app._client.elsewhere.wait(
                lambda: self._app.submit(name, *args, **arguments), "await app.submit(...)"
            )
        )

    def submit_many(self, calls: Iterable[Call[R]]) -> list[SyncHandle[R]]:
        """Submit many tasks in few calls to the broker; the handles come in their order.

        However many there are, it goes on while the broker answers: the 30 s of each task begin
        when its turn comes. A broker that does not answer is waited for 30 s, not 30 s for each.

        Raises:
            What ``submit`` of a handler raises, for the first call that was not accepted; a note
            says how many were, how many were not, of how many it is unknown, and for how long
            submitting the same calls again is safe.
        """
        wanted = listed(calls)
        client = self._app._client
        handles = client.elsewhere.wait(
            lambda: client.submit_many(wanted), "await app.submit_many(...)"
        )
        return [SyncHandle(handle) for handle in handles]

    def handle(self, id: str) -> SyncHandle[Any]:
        """The handle of any task, from anywhere. Raises InvalidTask if it is not an id."""
        return SyncHandle(self._app.handle(id))

    def as_completed(
        self, handles: Iterable[SyncHandle[R]], *, timeout: float | None = None
    ) -> Iterator[SyncHandle[R]]:
        """The handles in the order in which their tasks end, whatever the end.

        Who breaks off has the waits for the others ended, soon after.

        Args:
            handles: of any tasks.
            timeout: longest time for all of them (seconds), from the first step.

        Raises:
            TimeoutError: some have not ended in time; the message says of one of them how it is,
                and so if no live worker serves its lane. Finding that out takes 0.5 s at most.
            ResultExpired, NothingRuns, Unavailable, Unknown: as :meth:`SyncHandle.wait`.
            TypeError, ValueError: ``timeout`` is no number of seconds.
        """
        return as_completed(handles, timeout)

    def __enter__(self) -> Self:
        """Open the connection now, so that what is wrong shows now."""
        self._app._client.elsewhere.wait(self._app._opened, "async with app:")
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Send what still waits, close the connection and end the thread, if there is one.

        Calls of other threads that still wait raise Unavailable. It takes a few seconds at most
        while the broker answers. A program need not call it: what a submit has returned is
        durable.
        """
        client = self._app._client
        client.elsewhere.end(client._sessions.end, "await app.aclose()")
