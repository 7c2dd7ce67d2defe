"""Starts worker processes as a user would, and ends them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

JOBS = Path(__file__).with_name("jobs.py")


def command(*arguments: str) -> list[str]:
    """The command line of a worker of this folder's jobs."""
    return [sys.executable, "-m", "xqueue_core.cli", "worker", str(JOBS), *arguments]


def environment(url: str, durability: str) -> dict[str, str]:
    """The environment that points client and worker at a broker."""
    return {**os.environ, "XQUEUE_URL": url, "XQUEUE_DURABILITY": durability}


def burst(url: str, durability: str) -> None:
    """Run one worker until nothing is left to do."""
    subprocess.run(
        command("--burst", "--log-level", "WARNING"),
        env=environment(url, durability),
        check=True,
        timeout=300,
    )


@contextmanager
def running(url: str, durability: str) -> Iterator[None]:
    """A worker in a process of its own, for as long as the context lasts."""
    worker = subprocess.Popen(command("--log-level", "WARNING"), env=environment(url, durability))
    try:
        yield
    finally:
        worker.send_signal(signal.SIGTERM)
        worker.wait(timeout=60)
