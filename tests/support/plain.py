"""What tests of plain code need: a worker in the background, and waits without a loop."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from support.hosts import Hosted
from xqueue_core import XQueue

#: The name of the thread in which a client of plain code works.
CLIENT = "xqueue-client"


def wait_until(what: str, condition: Callable[[], Any], seconds: float = 15.0) -> Any:
    """Wait until the condition holds; its value. AssertionError says that ``what`` did not."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, f"within {seconds} s it did not come about: {what}"
        time.sleep(0.005)
    return found


def clients() -> int:
    """How many threads of clients there are in this process."""
    return sum(one.name == CLIENT for one in threading.enumerate())


@contextmanager
def background(app: XQueue, host: str = "asyncio", **options: Any) -> Iterator[Hosted]:
    """A worker of the app in a thread; stopped at once at the end, without an error."""
    one = Hosted(app, host, **options)
    one.start()
    try:
        yield one
    finally:
        one.worker.stop()
        one.worker.stop()
        wait_until("the worker ends", lambda: not one.is_alive())
        assert one.error is None
