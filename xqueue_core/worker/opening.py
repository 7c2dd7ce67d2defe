"""Opens a worker's plugins, and closes them: no longer than it may take to stop the worker."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xqueue_core.abc import TaskView
    from xqueue_core.plugged import Plugged


class Opening:
    """Used on the engine's loop, that it is made on.

    Args:
        grace: seconds that plugins, too, have from the first :meth:`stop` on. A second more, if
            those are spent by then: what they have gathered is worth that.
    """

    def __init__(self, plugged: Plugged, grace: float) -> None:
        self._plugged = plugged
        self._grace = grace
        self._loop = asyncio.get_running_loop()
        self._stopped = asyncio.Event()
        self._rush = asyncio.Event()

    def stop(self) -> None:
        """The worker is stopped: what is not open yet need not be. Again: in a hurry."""
        if self._stopped.is_set():
            self._rush.set()
        else:
            self._stopped.set()
            self._loop.call_later(self._grace, self._rush.set)

    async def open(self, stack: AsyncExitStack, worker: str, view: TaskView | None) -> bool:
        """Open them until the stack is left. False if the worker was stopped before that was done.

        Raises PluginFailed if one cannot be opened.
        """
        if self._stopped.is_set():
            return False
        context = self._plugged.open(worker, view, self._rush)
        entering = asyncio.ensure_future(stack.enter_async_context(context))
        stopped = asyncio.ensure_future(self._stopped.wait())
        try:
            await asyncio.wait({entering, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if not entering.done():
                entering.cancel()
                await asyncio.wait([entering])
        finally:
            stopped.cancel()
            entering.cancel()
        if entering.cancelled():
            return False
        entering.result()
        return True
