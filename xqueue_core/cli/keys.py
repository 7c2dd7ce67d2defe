"""Keys that are pressed while a command shows something on a terminal."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def pressed(key: str) -> Iterator[asyncio.Event | None]:
    """Within, keys are read one by one and not shown; the event is set once this one is pressed.

    None where standard input is no terminal, or the system has none of that kind. Ctrl-C stays
    what it is.
    """
    terminal = _terminal()
    if terminal is None:
        yield None
        return
    import termios
    import tty

    fd, before = terminal
    found = asyncio.Event()
    loop = asyncio.get_running_loop()

    def read() -> None:
        try:
            typed = os.read(fd, 1024)
        except OSError:
            typed = b""
        if not typed:  # the terminal is gone
            loop.remove_reader(fd)
        if key.encode() in typed:
            found.set()

    tty.setcbreak(fd, termios.TCSANOW)
    try:
        loop.add_reader(fd, read)
        yield found
    finally:
        loop.remove_reader(fd)
        termios.tcsetattr(fd, termios.TCSANOW, before)


def _terminal() -> tuple[int, list[Any]] | None:
    """Standard input, and how it is set; None if it is no terminal."""
    try:
        import termios
    except ImportError:
        return None
    try:
        fd = sys.stdin.fileno()
        return fd, termios.tcgetattr(fd)
    except (AttributeError, ValueError, OSError, termios.error):
        return None
