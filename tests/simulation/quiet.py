"""While a schedule runs, no thread starts and no real clock is read; errors logged are kept."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

#: Who may look at a real clock: it is of no consequence there.
_MAY = ("logging",)
_CLOCKS = ("time", "monotonic", "perf_counter", "clock_gettime", "sleep")


class Touched(AssertionError):
    """Something touched real time, or a real thread."""


class _Kept(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        said = record.getMessage()
        if "unexpected" in said:
            self.lines.append(f"logged: {said}: {error!r}")


@contextmanager
def quiet() -> Iterator[list[str]]:
    """Real time and threads are out of reach; the list gets what was logged as unexpected."""
    kept, logger = _Kept(), logging.getLogger("xqueue")
    level, propagate = logger.level, logger.propagate
    with ExitStack() as stack:
        for name in _CLOCKS:
            stack.enter_context(mock.patch.object(time, name, _guard(name, getattr(time, name))))
        stack.enter_context(mock.patch.object(threading.Thread, "start", _guard("start", None)))
        logger.addHandler(kept)
        logger.setLevel(logging.ERROR)
        logger.propagate = False
        try:
            yield kept.lines
        finally:
            logger.removeHandler(kept)
            logger.setLevel(level)
            logger.propagate = propagate


def _guard(name: str, real: Callable[..., Any] | None) -> Callable[..., Any]:
    def guarded(*args: Any) -> Any:
        caller = sys._getframe(1).f_globals.get("__name__", "")
        if real is not None and caller.partition(".")[0] in _MAY:
            return real(*args)
        raise Touched(f"{caller} touched the real {name}")

    return guarded
