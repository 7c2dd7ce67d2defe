"""Real worker processes, and the app they run."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

#: Where the workers' handlers write what they did, one line each.
LOG = "WORKER_TEST_LOG"
#: The broker.
URL = "WORKER_TEST_URL"


class Cli:
    """One ``xqueue`` process."""

    def __init__(self, url: str, log: Path, *arguments: str, script: Path | None = None) -> None:
        env = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(one for one in sys.path if one),
            "PYTHONUNBUFFERED": "1",
            URL: url,
            LOG: str(log),
        }
        what = ["-m", "xqueue_core.cli"] if script is None else [str(script)]
        self.errors = log.with_suffix(f".{len(list(log.parent.iterdir()))}.err")
        with self.errors.open("wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, *what, *arguments],
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
            )

    def send(self, signum: int = signal.SIGTERM) -> None:
        """Send a signal to this process alone."""
        self.process.send_signal(signum)

    async def ended(self, seconds: float = 20.0) -> int:
        """Wait for the exit code."""
        try:
            async with asyncio.timeout(seconds):
                while (code := self.process.poll()) is None:
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise AssertionError(f"it did not end in {seconds} s:\n{self.log()}") from None
        return code

    def log(self) -> str:
        """What it has logged so far."""
        return self.errors.read_text()


@contextmanager
def cli(url: str, log: Path, *arguments: str) -> Iterator[Cli]:
    """An ``xqueue`` process that does not outlive the test."""
    process = Cli(url, log, *arguments)
    try:
        yield process
    finally:
        if process.process.poll() is None:
            process.process.kill()
        process.process.communicate()


def worker(url: str, log: Path, *arguments: str) -> Any:
    """A worker process of the app in ``support.worker_app``."""
    return cli(url, log, "worker", "support.worker_app:app", *arguments)


def note(text: str) -> None:
    """Append a line to the handlers' log: one write, so that lines never mix."""
    fd = os.open(os.environ[LOG], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(fd, f"{text}\n".encode())
    finally:
        os.close(fd)


def notes(log: Path) -> list[str]:
    """The handlers' log so far."""
    return log.read_text().splitlines() if log.exists() else []


def alive(pid: int) -> bool:
    """True if the process exists and is no zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):  # the latter if it ends while it is read
        return False
    return state != "Z"
