"""The supervisor's side of its guardian: :mod:`xqueue_core.cli.guardian`."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable, Collection
from pathlib import Path

from xqueue_core.cli import guardian

logger = logging.getLogger("xqueue.worker")

#: Bounds of the wait before a guardian that died is replaced (seconds); it doubles.
FIRST_WAIT = 1.0
LONGEST_WAIT = 60.0


class Guard:
    """Keeps a guardian, and tells it which workers there are. Never raises: it goes on without.

    Args:
        seconds: how long workers may outlive the supervisor.
    """

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        self._seconds = seconds
        self._clock = clock
        self._process: subprocess.Popen[bytes] | None = None
        self._told: set[int] = set()
        self._failures = 0
        self._at = 0.0 if possible() else float("inf")

    def look(self, pids: Collection[int]) -> None:
        """See that there is a guardian and that it knows these processes, and no others."""
        try:
            if self._process is not None and self._process.poll() is not None:
                raise ChildProcessError(f"it ended with code {self._process.returncode}")
            if self._process is None and pids and self._clock() >= self._at:
                self._start()
            if self._process is not None:
                self._tell(set(pids))
        except OSError as error:
            wait = min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** min(self._failures, 16))
            logger.warning("the guardian of workers failed, next try in %g s: %s", wait, error)
            self._failures += 1
            self._at = self._clock() + wait
            self.close()

    def close(self) -> None:
        """End the guardian: no worker is left, or another is needed."""
        process, self._process = self._process, None
        self._told = set()
        if process is None:
            return
        process.kill()  # before its pipe ends, by which it would kill workers
        process.wait()
        if process.stdin is not None:
            process.stdin.close()

    def _start(self) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - our own command
            [
                sys.executable,
                "-I",
                "-S",
                str(Path(guardian.__file__).resolve()),
                f"{self._seconds}",
            ],
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
        )
        if self._process.stdin is not None:
            os.set_blocking(self._process.stdin.fileno(), False)

    def _tell(self, pids: set[int]) -> None:
        """Those that ended go first: the number of one may be another's by now."""
        lines = [f"-{pid}\n" for pid in self._told - pids]
        lines += [f"+{pid}\n" for pid in pids - self._told]
        self._told = pids
        if lines and self._process is not None and self._process.stdin is not None:
            said = "".join(lines).encode()
            if os.write(self._process.stdin.fileno(), said) < len(said):
                raise BlockingIOError("it does not listen")


def possible() -> bool:
    """True if the system can name a process so that no later one is meant (Linux)."""
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError):
        return False
    return True
