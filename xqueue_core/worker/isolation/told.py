"""Plugins in a child process: opened before its first task, told of each run there."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from xqueue_core.hooks import Place, Running
from xqueue_core.plugged import Inside, Plugged, plugged

if TYPE_CHECKING:
    from xqueue_core.app import XQueue
    from xqueue_core.calls import Delivery


@contextmanager
def opened(app: XQueue, worker: str) -> Iterator[Plugged | None]:
    """The app's plugins that are for child processes, open; None if there are none.

    Raises ConfigError if one cannot be loaded, and PluginFailed if it cannot be opened.
    """
    found = plugged(app, Place.CHILD)
    if found is None:
        yield None
        return
    with asyncio.Runner() as runner:
        context = found.open(worker)
        runner.run(context.__aenter__())
        try:
            yield found
        finally:
            runner.run(context.__aexit__(None, None, None))


def enter(
    plugins: Plugged | None, delivery: Delivery, worker: str, carried: dict[str, str]
) -> tuple[Running, Inside] | None:
    """Tell of a run that begins; what is answered is to be left."""
    if plugins is None:
        return None
    return plugins.enter(delivery, worker, "process", Place.CHILD, carried)


def leave(visit: tuple[Running, Inside] | None, error: BaseException | None) -> None:
    """Tell of its end. What it becomes is for the worker to say."""
    if visit is not None:
        run, inside = visit
        run.error = error
        inside.leave(error)
        run.error = None
