"""Holds plugins open, each in a task of its own: what fails in one ends that one and no other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager

from xqueue_core.errors import PluginFailed
from xqueue_core.hooks import Hooks

#: Seconds that a plugin has to close, however much of a hurry there is, and to end once it was
#: cancelled.
FLOOR = LAST_WORDS = 1.0


class Holder:
    """One plugin, open until :func:`close`. To be made on the event loop that it lives on.

    What a plugin opens may be bound to its task: a task group of its own that fails cancels that
    task. Were it whoever opened the plugin, a worker would end by it, and without a drain.

    Attributes:
        hooks: what it has answered; None while it is not open.

    Args:
        make: makes the context manager.
        fell: called, on the same loop, when it has ended without being asked to, with what it
            raised; with None if it was cancelled, as all is when the loop ends.
    """

    def __init__(
        self,
        name: str,
        make: Callable[[], AbstractAsyncContextManager[Hooks]],
        fell: Callable[[Holder, BaseException | None], None],
    ) -> None:
        self.name = name
        self.hooks: Hooks | None = None
        self._make = make
        self._fell = fell
        self._error: BaseException | None = None
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._end = asyncio.Event()
        self._left = False  # nobody waits for it any more
        self._task = asyncio.create_task(self._run())
        # The loop may be closed under it, by who does not close the client; that is told once.
        self._task._log_destroy_pending = False  # type: ignore[attr-defined]

    async def open(self, patience: float) -> Hooks:
        """Wait until it is open, for so many seconds. Cancelled, it is broken off.

        Raises PluginFailed if it cannot be opened.
        """
        try:
            await asyncio.wait(
                {self._task, self._ready}, timeout=patience, return_when=asyncio.FIRST_COMPLETED
            )
        except BaseException:
            await self._break_off()
            raise
        if self._task.done() or not self._ready.done():  # or both: it has ended at once
            said = f"{type(self._error).__name__}: {self._error}".removesuffix(": ")
            if self._error is None:
                said = "it ended by itself"
            if not self._task.done():
                await self._break_off()
                said = f"not within {patience:g} s"
            raise PluginFailed(f"plugin {self.name!r} cannot be opened: {said}") from self._error
        if not isinstance(self.hooks, Hooks):
            raise PluginFailed(
                f"plugin {self.name!r} gave {type(self.hooks).__name__!r} when it was opened: "
                f"wanted is an xqueue_core.hooks.Hooks"
            )
        return self.hooks

    async def _run(self) -> None:
        try:
            async with self._make() as self.hooks:
                self._ready.set_result(None)
                await self._end.wait()
        except BaseException as error:
            self._error = error
            if isinstance(error, KeyboardInterrupt):
                raise
        if self._ready.done() and not self._end.is_set():
            self.hooks = None
            self._fell(self, self._trouble(RuntimeError("it ended by itself")))

    async def _break_off(self) -> None:
        self._left = True
        self._task.cancel()
        await asyncio.wait([self._task], timeout=LAST_WORDS)

    def _trouble(self, otherwise: BaseException | None = None) -> BaseException | None:
        """What went wrong; None if it was merely cancelled by somebody else. It may raise the
        like by itself, which is as good an error as any."""
        if isinstance(self._error, asyncio.CancelledError | None) and self._task.cancelling():
            return None
        return self._error or otherwise


async def close(
    holders: Sequence[Holder],
    patience: float,
    failed: Callable[[str, BaseException], None],
    rush: asyncio.Event | None = None,
) -> None:
    """Close them, side by side, within so many seconds; no more than :data:`FLOOR` are left once
    ``rush`` is set. What does not heed that is cancelled.

    ``failed`` is called with the name of each that could not be closed, and why.
    """
    open_ = [one for one in holders if not (one._left or one._task.done())]
    for one in open_:
        one._end.set()
    try:
        if open_:
            await _ended([one._task for one in open_], patience, rush)
    finally:
        late = [one for one in open_ if not one._task.done()]
        for one in late:
            one._task.cancel()
            failed(one.name, TimeoutError("it was not closed in time, and is not waited for"))
        if late:
            await asyncio.wait([one._task for one in late], timeout=LAST_WORDS)
    for one in open_:
        if one not in late and (error := one._trouble()) is not None:
            failed(one.name, error)


async def _ended(
    tasks: Sequence[asyncio.Task[None]], patience: float, rush: asyncio.Event | None
) -> None:
    """Wait until all have ended, or there is no time left."""
    floor = asyncio.create_task(asyncio.sleep(min(FLOOR, patience)))
    over = asyncio.create_task(_all(tasks))
    hurry = asyncio.create_task((rush or asyncio.Event()).wait())
    waits: set[asyncio.Task[object]] = {over, hurry}
    try:
        await asyncio.wait(waits, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait({over, floor}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for one in (floor, over, hurry):
            one.cancel()


async def _all(tasks: Sequence[asyncio.Task[None]]) -> None:
    await asyncio.wait(tasks)
