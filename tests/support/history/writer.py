"""Writes a history from many processes and threads at once, and reads it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

from support.history.events import AnyEvent, decode, encode

#: The clock of real runs: one for all processes of a machine.
now = time.monotonic


class Writer:
    """Appends events to a file; may be used by any thread, process or child of one.

    Each event is one write(2) to a file opened with O_APPEND, so that lines of several
    processes never mix, and what was written before a SIGKILL is there.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = os.fspath(path)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._fd = os.open(path, flags, 0o644)

    def write(self, *events: AnyEvent) -> None:
        """Append; all of them together, in this order."""
        data = b"".join(map(encode, events))
        if os.write(self._fd, data) != len(data):
            raise OSError(f"the history {self._path} was written in part: is the disk full?")

    def close(self) -> None:
        """Give the file back."""
        os.close(self._fd)


class Reader:
    """Reads what has been appended since it was last asked, whole lines only."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        self._at = 0
        self._rest = b""

    def more(self) -> list[AnyEvent]:
        """The events that have come since. A file that is not there yet has none."""
        return [decode(line) for line in self._lines()]

    def _lines(self) -> Iterator[bytes]:
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._at)
            data = file.read()
        self._at += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        yield from lines


def read(path: str | os.PathLike[str]) -> list[AnyEvent]:
    """Every event of the file, in the order in which they were appended."""
    return Reader(path).more()
