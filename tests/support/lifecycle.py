"""Worker processes of the app in :mod:`support.lifecycle_app`, and what can be seen of them."""

from __future__ import annotations

import signal
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from support.processes import Cli, cli, notes
from support.workers import until

APP = "support.lifecycle_app:app"


def worker(url: str, log: Path, *arguments: str) -> Any:
    """A worker process; by default it serves no isolated tasks, whose children start slowly."""
    if "--lanes" not in arguments:
        arguments = (*arguments, "--lanes", "nap,sleep,spin,lock,ticks")
    return cli(url, log, "worker", APP, *arguments)


def pids(log: Path, what: str = "start") -> set[int]:
    """The processes that have noted this."""
    return {int(line.split()[3]) for line in notes(log) if line.startswith(what)}


def times(log: Path, what: str) -> list[float]:
    """When it was noted, by the wall clock."""
    return [float(line.split()[2]) for line in notes(log) if line.startswith(what)]


async def noted(log: Path, count: int = 1, what: str = "start", seconds: float = 15.0) -> None:
    """Wait until it has been noted so often."""
    await until(f"{count} x {what}", lambda: len(times(log, what)) >= count, seconds)


async def logged(process: Cli, text: str, count: int = 1, seconds: float = 15.0) -> None:
    """Wait until the process has logged it so often."""
    await until(f"{count} x {text!r}", lambda: process.log().count(text) >= count, seconds)


def guardian(pid: int) -> int | None:
    """The guardian of a supervisor, if there is one."""
    for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        with suppress(FileNotFoundError, ProcessLookupError):
            if b"guardian.py" in Path(f"/proc/{one}/cmdline").read_bytes():
                return int(one)
    return None


def children(pid: int) -> dict[int, str]:
    """The state of each child of a process but its guardian: ``Z`` is a zombie."""
    other = guardian(pid)
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    states = {}
    for one in found:
        if int(one) == other:
            continue
        try:
            text = Path(f"/proc/{one}/stat").read_text()
        except FileNotFoundError:
            continue
        states[int(one)] = text.rpartition(")")[2].split()[0]
    return states


@contextmanager
def locked(url: str) -> Iterator[None]:
    """Within, nobody can write to the SQLite file: the broker is away."""
    connection = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None, timeout=10)
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")
    finally:
        connection.close()


STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
