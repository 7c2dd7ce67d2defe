"""What is told to whoever still waits for a client that is closed."""

from __future__ import annotations

import asyncio

from xqueue_core.errors import BrokerError, Unavailable

CLOSED = "the client was closed meanwhile"


def closed(said: asyncio.CancelledError | None = None) -> BrokerError:
    """The error for what had not ended then.

    Args:
        said: what the call raised as it was cancelled. If its cause says what is known of a task,
            so does the error, and is of its kind.
    """
    cause = None if said is None else said.__cause__
    if isinstance(cause, BrokerError):
        return type(cause)(f"{CLOSED}: {cause}")
    words = words_of(said)
    return Unavailable(f"{CLOSED}: {words}" if words else CLOSED)


def words_of(said: asyncio.CancelledError | None) -> str:
    """What it says itself, "" if nothing."""
    return str(said.args[0]) if said is not None and said.args else ""
