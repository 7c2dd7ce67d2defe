"""The history of a run: a line for every start and every end of an attempt.

It is kept beside the queue and not by it, so that what the queue promises can be checked
against what really happened: nothing that was recorded starts again, no more run at once than
the limit allows, and every start has its reason.

Events: ``start``; ``returned``, ``failed`` or ``stopped`` as the handler ends; ``recorded`` once
its result is in the queue's store and its row is written; ``exit`` of a worker process. A kill
between ``returned`` and ``recorded`` may make a file start once more.
"""

from __future__ import annotations

import json
import os
import time
from asyncio import CancelledError
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from demo_parts.names import to_path
from xqueue_core import Context

Line = dict[str, Any]

#: Events that end an attempt.
ENDS = ("returned", "failed", "stopped")


def append(file: Path, line: Line) -> None:
    """Append one line with one write, so that those of several processes never mix."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        os.write(descriptor, json.dumps(line).encode() + b"\n")
    finally:
        os.close(descriptor)


def read(file: Path, start: int = 0) -> list[Line]:
    """The whole lines behind byte ``start``. One that a kill cut short is left out."""
    if not file.exists():
        return []
    with file.open("rb") as opened:
        opened.seek(start)
        return [line for raw in opened if (line := _parsed(raw)) is not None]


def mend(file: Path) -> int:
    """End a line that a kill cut short, so that the next one stands alone; the file's size."""
    if not file.exists():
        return 0
    with file.open("r+b") as opened:
        size = opened.seek(0, os.SEEK_END)
        if size:
            opened.seek(size - 1)
            if opened.read(1) != b"\n":
                opened.write(b"\n")
        return opened.tell()


def _parsed(raw: bytes) -> Line | None:
    try:
        line = json.loads(raw)
    except ValueError:
        return None
    return line if raw.endswith(b"\n") and isinstance(line, dict) else None


@contextmanager
def attempt(ctx: Context, path: Path) -> Iterator[None]:
    """Note the start of an attempt, and how it ends."""
    _note(ctx, path, "start")
    try:
        yield
    except CancelledError:  # the worker has to stop: another one will begin again
        _note(ctx, path, "stopped")
        raise
    except Exception as error:
        _note(ctx, path, "failed", error=f"{type(error).__name__}: {error}")
        raise
    _note(ctx, path, "returned")


def started(ctx: Context) -> bool:
    """True if the task has started before, in whatever worker."""
    lines = read(to_path(ctx.headers["history"]))
    return any(line["event"] == "start" and line["id"] == ctx.id for line in lines)


def _note(ctx: Context, path: Path, event: str, **more: str) -> None:
    line = {
        "run": ctx.headers["run"],
        "event": event,
        "path": str(path),
        "id": ctx.id,
        "attempt": ctx.attempt,
        "token": ctx.token,
        "pid": os.getpid(),
        "ns": time.monotonic_ns(),
    }
    append(to_path(ctx.headers["history"]), line | more)


def note(file: Path, run: str, event: str, **more: str | int) -> None:
    """Note what the demo itself sees: rows recorded, and workers that end."""
    append(file, {"run": run, "event": event, "ns": time.monotonic_ns(), **more})


class Running:
    """Which attempts are under way, and how many were at most."""

    def __init__(self) -> None:
        self.open: dict[tuple[str, int], Line] = {}  # starts by task and token
        self.peak = 0

    def feed(self, lines: Iterable[Line]) -> None:
        """Follow the history."""
        for line in sorted(lines, key=lambda line: (line["ns"], line["event"] == "start")):
            if line["event"] == "start":
                self.open[line["id"], line["token"]] = line
                self.peak = max(self.peak, len(self.open))
            elif line["event"] in ENDS:
                self.open.pop((line["id"], line["token"]), None)
            elif line["event"] == "exit":
                ended = [key for key, begun in self.open.items() if begun["pid"] == line["pid"]]
                for key in ended:
                    del self.open[key]


class Tail:
    """Reads what is new in a history."""

    def __init__(self, file: Path, start: int) -> None:
        self._file = file
        self._at = start

    def new(self) -> list[Line]:
        """The whole lines appended since the last call."""
        if not self._file.exists():
            return []
        with self._file.open("rb") as opened:
            opened.seek(self._at)
            data = opened.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._at += len(whole)
        return [line for raw in whole.splitlines(keepends=True) if (line := _parsed(raw))]
