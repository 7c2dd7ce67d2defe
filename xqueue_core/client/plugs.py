"""The plugins of a client on one event loop: opened before its first submit, closed at its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from xqueue_core.client.background import in_background
from xqueue_core.loading import loading

if TYPE_CHECKING:
    from xqueue_core.app import XQueue
    from xqueue_core.plugged import Plugged

#: Makes the plugins for a client; None if there are none.
MakePlugged = Callable[[], "Plugged | None"]

#: Longest wait for plugins to close (seconds): a little longer than they may take.
CLOSING = 12.0


def of_client(app: XQueue) -> Plugged | None:
    """The plugins of an app that are for clients. Raises ConfigError if they cannot be loaded."""
    if not app.settings().plugins:
        return None
    with loading:
        from xqueue_core.hooks import Place
        from xqueue_core.plugged import plugged

    return plugged(app, Place.CLIENT)


class Plugs:
    """Opened in a task of its own, which also closes them."""

    def __init__(self, make: MakePlugged) -> None:
        self._make = make
        self._ready: asyncio.Future[Plugged] | None = None
        self._holder: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()

    async def opened(self) -> Plugged | None:
        """The open plugins; None if there are none. Raises ConfigError if one cannot be loaded,
        and PluginFailed if it cannot be opened.

        The next call tries that again.
        """
        if self._ready is None:
            plugged = self._make()
            if plugged is None:
                return None
            self._ready = asyncio.get_running_loop().create_future()
            self._holder = in_background(self._hold(plugged, self._ready))
        return await asyncio.shield(self._ready)

    async def _hold(self, plugged: Plugged, ready: asyncio.Future[Plugged]) -> None:
        try:
            async with plugged.open():
                ready.set_result(plugged)
                await self._closing.wait()
        except asyncio.CancelledError:
            ready.cancel()
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the callers' to handle
            if not ready.done():
                ready.set_exception(error)
                ready.exception()  # it was seen, even if every caller is gone by now
        finally:
            self._ready = None

    async def close(self) -> None:
        """Close them."""
        self._closing.set()
        if self._holder is not None and not self._holder.done():
            await asyncio.wait([self._holder], timeout=CLOSING)
            self._holder.cancel()

    def abandon(self) -> None:
        """Cancel whatever is open."""
        if self._holder is not None:
            self._holder.cancel()
