"""Runs ``examples/demo.py`` as its users do, and reads what it leaves behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

DEMO = Path(__file__).parents[2] / "examples" / "demo.py"
#: Longest time for one run (seconds).
PATIENCE = 50.0


def wait_until(what: str, true: Callable[[], object], seconds: float = 30.0) -> None:
    """Wait for a condition; fails, naming it, when it does not come true in time."""
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.01)


def alive(pid: int) -> bool:
    """True if the process runs; one that has ended and was not collected does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):  # the latter if it ends while it is read
        return False
    return state not in "ZX"


def children(demo: subprocess.Popen[str]) -> list[int]:
    """The worker processes of a demo."""
    return [
        int(pid) for pid in Path(f"/proc/{demo.pid}/task/{demo.pid}/children").read_text().split()
    ]


class Demo:
    """The demo over one folder, with its state beside it."""

    def __init__(self, place: Path) -> None:
        self.folder = place / "files"
        self.folder.mkdir()
        self.state = place / "state"

    def fill(self, count: int, size: int = 2000) -> list[Path]:
        """Make files of noise, each different."""
        made = [self.folder / f"file{n:02}.bin" for n in range(count)]
        for n, path in enumerate(made):
            path.write_bytes(n.to_bytes(2, "big") + os.urandom(size))
        return made

    def command(self) -> list[str]:
        """The command that runs it."""
        return [sys.executable, str(DEMO), f"--dir={self.folder}", f"--state={self.state}"]

    def start(self, *more: str, **env: str) -> subprocess.Popen[str]:
        """Start it, in a process group of its own."""
        return subprocess.Popen(
            [*self.command(), *more],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | env,
            start_new_session=True,
        )

    def run(self, *more: str, **env: str) -> tuple[int, str]:
        """Run it to its end: exit code, and all it printed."""
        return ended(self.start(*more, **env))

    def history(self) -> list[dict[str, Any]]:
        """The lines of the history."""
        return read_lines(self.state / "history.jsonl")

    def rows(self) -> list[dict[str, Any]]:
        """The recorded rows."""
        return read_lines(self.state / "results.jsonl")

    def starts(self) -> list[str]:
        """The file of every start, in order."""
        return [line["path"] for line in self.history() if line["event"] == "start"]

    def pids(self) -> set[int]:
        """Every worker process that ever started a file."""
        return {line["pid"] for line in self.history() if line["event"] == "start"}

    def recorded(self) -> set[str]:
        """Files that have a row."""
        return {row["path"] for row in self.rows()}


def ended(demo: subprocess.Popen[str]) -> tuple[int, str]:
    """Wait for the end of a demo: exit code, and all it printed."""
    try:
        output, _ = demo.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        kill_group(demo)
        raise AssertionError(f"still at work: {demo.communicate()[0]}") from None
    return demo.returncode, output


def kill_group(demo: subprocess.Popen[str]) -> None:
    """SIGKILL for the demo and all its processes at once."""
    os.killpg(demo.pid, signal.SIGKILL)


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The lines of a file to which others append."""
    if not path.exists():
        return []
    whole = path.read_text().rpartition("\n")[0]
    return [json.loads(line) for line in whole.splitlines()]


def peak(history: list[dict[str, Any]]) -> int:
    """How many attempts were under way at most, by their starts and ends."""
    steps = [
        (line["ns"], 1 if line["event"] == "start" else -1)
        for line in history
        if line["event"] in ("start", "returned", "failed", "stopped")
    ]
    most = now = 0
    for _, step in sorted(steps):
        now += step
        most = max(most, now)
    return most
