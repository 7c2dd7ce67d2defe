"""A connection that is not open while the process forks."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable


class Link:
    """Connects, and connects again after a fork.

    Everything here is called within ``forking.quiet``, or before a fork when nobody is.

    Args:
        connect: makes a connection; called at once, and again when it is needed.
        gone: called once it is closed for good.
    """

    def __init__(
        self, connect: Callable[[], sqlite3.Connection], gone: Callable[[Link], object]
    ) -> None:
        self._connect = connect
        self._gone = gone
        self._open: sqlite3.Connection | None = connect()

    @property
    def connection(self) -> sqlite3.Connection:
        """The connection. Raises what connecting raises, and RuntimeError once it is closed."""
        if self._open is None:
            self._open = self._connect()
        return self._open

    @property
    def open(self) -> sqlite3.Connection | None:
        """The connection, if it is open now."""
        return self._open

    def let_go(self) -> None:
        """Close until it is needed again."""
        if self._open is not None:
            self._open.close()
            self._open = None

    def close(self) -> None:
        """Close for good."""
        self._connect = _closed
        self.let_go()
        self._gone(self)


def _closed() -> sqlite3.Connection:
    raise RuntimeError("this connection was closed")
