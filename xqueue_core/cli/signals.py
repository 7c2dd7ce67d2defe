"""The signals that stop a worker or its supervisor, from its first line on."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

logger = logging.getLogger("xqueue.worker")

#: SIGHUP is what a terminal that closes sends; nothing is reloaded by it.
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
#: Seconds within which a further signal is the same wish.
SAME = 0.2


@contextmanager
def heeded(stop: Callable[[], None]) -> Iterator[None]:
    """Within, ``stop`` is called for each signal that asks to stop.

    A SIGHUP that is ignored, as under ``nohup``, stays so. Outside the main thread, which alone
    may do this, nothing is heeded.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handle = stopper(stop, time.monotonic)
    before = {
        one: signal.signal(one, handle)
        for one in SIGNALS
        if one is not signal.SIGHUP or signal.getsignal(one) is not signal.SIG_IGN
    }
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def stopper(
    stop: Callable[[], None], clock: Callable[[], float]
) -> Callable[[int, FrameType | None], None]:
    """A signal handler that stops. Senders such as ``timeout`` signal a process and its group:
    two signals in quick succession are one wish. In a process that a task has forked, which
    inherits it, a signal does what it would do without."""
    last, pid = -SAME, os.getpid()

    def handle(signum: int, frame: FrameType | None) -> None:
        nonlocal last
        if os.getpid() != pid:
            _as_ever(signum, frame)
            return
        now = clock()
        if now - last >= SAME:
            last = now
            logger.info("received %s", signal.Signals(signum).name)
            stop()

    return handle


def _as_ever(signum: int, frame: FrameType | None) -> None:
    if signum == signal.SIGINT:
        signal.default_int_handler(signum, frame)
    signal.signal(signum, signal.SIG_DFL)
    os.kill(os.getpid(), signum)


def leave(code: int = 0) -> None:
    """End this process here and now, without waiting for threads or for code at exit."""
    flush()
    os._exit(code)


def flush() -> None:
    """Write out what was logged and printed."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
