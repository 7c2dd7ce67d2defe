"""Tasks that a client has beside its callers' own, on their event loop.

They serve whoever comes, for as long as the client is open. So they see none of the context
variables of who came first, and do not keep what is in them: that is a request's, most likely.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextvars import Context
from typing import Any


def in_background(coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Begin a task, in an empty context. If the loop is closed before it ends asyncio does not
    complain of it.

    Whoever does that sees one warning, of the session, which says what to do.
    """
    # Not by a parameter, which not all task factories take.
    task: asyncio.Task[None] = Context().run(asyncio.create_task, coroutine)
    task._log_destroy_pending = False  # type: ignore[attr-defined]
    return task
