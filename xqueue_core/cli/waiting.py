"""Waits for a task and shows how it ended."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from xqueue_core.cli.output import Output
from xqueue_core.cli.shown.tasks import details
from xqueue_core.cli.shown.values import compact, content
from xqueue_core.client.ending import ending
from xqueue_core.errors import XQueueError
from xqueue_core.task import State

if TYPE_CHECKING:
    from xqueue_core.handle import Handle


async def ended(
    handle: Handle[Any], timeout: float | None, out: Output, more: Mapping[str, object]
) -> None:
    """Wait until the task has ended, and show its result.

    JSON shows the whole task, however it ended, with ``more`` in it.

    Raises:
        TaskFailed, TaskCanceled, TaskTimedOut: it did not succeed.
        TimeoutError: it has not ended within ``timeout`` (seconds; None waits for ever).
        ResultExpired: it is unknown.
    """
    try:
        info = await handle.wait(timeout)
    except TimeoutError:
        if out.as_json:
            try:
                out.show({**details(await handle.info()), **more})
            except XQueueError:  # gone meanwhile, or the broker is: what counts is the time-out
                out.show({"id": handle.id, **more})
        raise
    result = compact(content(info.result)) if info.result is not None else "null"
    if out.as_json or info.state is State.SUCCESS:
        out.show({**details(info), **more}, result)
    if info.state is not State.SUCCESS:
        raise ending(info)
