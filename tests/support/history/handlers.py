"""What handlers write: their start, their end, and that they were told to end."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from support.history.events import Ended, Started, Told
from support.history.writer import Writer, now
from xqueue_core import Context, Retry


@contextmanager
def run(
    writer: Writer, ctx: Context, *, key: str = "", priority: int = 0, child_of: int = 0
) -> Iterator[None]:
    """The whole body of a handler. ``child_of`` is the worker's pid if it is isolated."""
    begun = Started(
        at=now(),
        id=ctx.id,
        attempt=ctx.attempt,
        token=ctx.token,
        worker=ctx.worker,
        pid=child_of or os.getpid(),
        child=os.getpid() if child_of else 0,
        lane=ctx.lane,
        key=key,
        priority=priority,
    )
    writer.write(begun)
    how: Literal["returned", "raised", "canceled"] = "raised"
    wait = 0.0
    try:
        yield
        how = "returned"
    except Retry as error:
        wait = error.delay or 0.0
        raise
    except asyncio.CancelledError:
        how = "canceled"
        writer.write(Told(at=now(), id=ctx.id, token=ctx.token))
        raise
    finally:
        writer.write(Ended(at=now(), id=ctx.id, token=ctx.token, how=how, wait=wait))
