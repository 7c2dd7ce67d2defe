"""Whether a server still has the data that it had when it was opened."""

from __future__ import annotations

import logging
import secrets
from typing import Any, Final

from xqueue_core.errors import ConfigError, NoDatabase
from xqueue_redis.wire import Wire

#: The layout of the keys that this version reads and writes.
LAYOUT: Final = 1

logger = logging.getLogger("xqueue.redis")


class Keeping:
    """Looks at ``meta`` at each connect, and begins a namespace that is not there.

    Args:
        meta: its key.
        where: the server, for messages.
        make: begin it; if false, one that is not there raises.
    """

    def __init__(self, meta: str, where: str, *, make: bool) -> None:
        self._meta = meta
        self._where = where
        self._make = make
        self.generation: bytes | None = None  # as of the latest connect

    async def look(self, wire: Wire) -> None:
        """Compare, and log it once if the data is gone.

        Raises:
            ConfigError: the data was written by a newer version.
            NoDatabase: there is none, and none is to be made.
            RedisError: as the client has it.
        """
        found = await wire.ask("HMGET", self._meta, "generation", "layout")
        self._check(found[1])
        generation = found[0]
        if generation is None and wire.info.get("role") == "slave":
            return  # of which others tell
        if generation is None and self._make:
            # Several may come at once: the first one's stays.
            await wire.ask("HSETNX", self._meta, "layout", LAYOUT)
            await wire.ask("HSETNX", self._meta, "generation", secrets.token_hex(8))
            generation = await wire.ask("HGET", self._meta, "generation")
        if self.generation not in (None, generation):
            logger.critical(
                "%s has lost its data: the namespace behind %s was begun anew since this process "
                "opened it, and tasks accepted before are gone. See the server's persistence, and "
                "whether somebody called FLUSHALL or another server stands in its place",
                self._where,
                self._meta,
            )
        elif generation is None and self.generation is None:
            raise NoDatabase(
                f"{self._where} holds no XQueue under {self._meta}: name the right server, "
                "database and namespace; the first submit or worker begins it"
            )
        self.generation = generation

    def _check(self, layout: Any) -> None:
        if layout is None or int(layout) <= LAYOUT:
            return
        raise ConfigError(
            f"{self._where}: {self._meta} was written by a newer XQueue (layout {int(layout)}; "
            f"this one knows {LAYOUT}): upgrade xqueue-core, or name another namespace"
        )
