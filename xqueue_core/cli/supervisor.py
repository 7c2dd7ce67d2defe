"""``--processes N``: spawns workers, replaces those that die, passes signals on.

Children are spawned, never forked, each in a session of its own, so that a terminal's Ctrl-C
reaches them once: from here. Each watches its standard input, which closes when this process
ends, however it ends.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Sequence

from xqueue_core.cli.running import RECYCLE, SIGNALS, stopper

logger = logging.getLogger("xqueue.worker")

#: Bounds of the wait before a process that died is replaced (seconds); it doubles.
FIRST_WAIT = 0.5
LONGEST_WAIT = 30.0
#: A process that lived this long is replaced at once (seconds).
HEALTHY = 60.0
#: Seconds beyond the grace time after which children that do not stop are killed.
PATIENCE = 20.0
#: Exit code for wrong usage or configuration, which a restart cannot heal.
USAGE = 2


def supervise(processes: int, grace: float) -> int:
    """Run ``processes`` workers with this command's arguments; answers the exit code."""
    arguments = [*sys.argv[1:], "--supervised"]
    command = [sys.executable, "-m", "xqueue_core.cli", *arguments]
    return Supervisor(command, processes, grace).run()


class Child:
    """One place for a worker process, and how it fared."""

    def __init__(self, command: Sequence[str], clock: Callable[[], float]) -> None:
        self._command = command
        self._clock = clock
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0
        self._failures = 0
        self.at: float | None = 0.0  #: when to start it; None = not any more

    @property
    def process(self) -> subprocess.Popen[bytes] | None:
        """The process, if one runs or its end has not been seen."""
        return self._process

    def start(self) -> None:
        """Spawn the process."""
        self._started = self._clock()
        self._process = subprocess.Popen(  # noqa: S603 - our own command
            self._command, stdin=subprocess.PIPE, start_new_session=True
        )
        self.at = None
        logger.info("started worker process %d", self._process.pid)

    def ended(self, fine: Collection[int]) -> int | None:
        """The exit code, once, when the process has ended; logged as an error unless ``fine``."""
        if self._process is None or (code := self._process.poll()) is None:
            return None
        logger.log(
            logging.INFO if code in fine else logging.ERROR,
            "worker process %d ended with code %d",
            self._process.pid,
            code,
        )
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process = None
        return code

    def restart(self, code: int) -> None:
        """Have it started again: at once if it asked for that, else after a growing wait."""
        now = self._clock()
        if code == RECYCLE or now - self._started >= HEALTHY:
            self._failures = 0
            self.at = now
            return
        self.at = now + min(LONGEST_WAIT, FIRST_WAIT * 2.0**self._failures)
        self._failures = min(self._failures + 1, 16)

    def signal(self, signum: int) -> None:
        """Pass a signal on."""
        if self._process is not None:
            self._process.send_signal(signum)


class Supervisor:
    """Runs in a process of its own, in its main thread, and has no other."""

    def __init__(
        self,
        command: Sequence[str],
        processes: int,
        grace: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._children = [Child(command, clock) for _ in range(processes)]
        self._grace = grace
        self._stopping = False
        self._kill_at = float("inf")
        self._code = 0

    def run(self) -> int:
        """Supervise until all children have ended for good; answers the exit code."""
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.setblocking(False)
            theirs.setblocking(False)
            # A signal that comes between a look and the wait is not missed: it makes the
            # socket readable.
            old_fd = signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
            stop = stopper(self._stop, self._clock)
            before = {one: signal.signal(one, stop) for one in SIGNALS}
            before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda *_: None)
            try:
                while self._look():
                    select.select([ours], [], [], self._wait())
                    _emptied(ours)
            finally:
                signal.set_wakeup_fd(old_fd)
                for one, handler in before.items():
                    signal.signal(one, handler)
                self._kill()
        return self._code

    def _stop(self) -> None:
        self._stopping = True
        self._kill_at = self._clock() + self._grace + PATIENCE
        for child in self._children:
            child.at = None
            child.signal(signal.SIGTERM)

    def _look(self) -> bool:
        """See who ended, start who is due; False if nobody is left."""
        now = self._clock()
        if now >= self._kill_at:
            self._kill()
        for child in self._children:
            code = child.ended(self._fine())
            if code is not None:
                self._ended(child, code)
            if child.at is not None and child.at <= now and not self._stopping:
                self._start(child)
        return any(child.process is not None or child.at is not None for child in self._children)

    def _start(self, child: Child) -> None:
        child.start()
        if self._stopping:  # since: it was not there yet to be told
            child.signal(signal.SIGTERM)

    def _fine(self) -> Collection[int]:
        """Exit codes that are no failure. A child that is told to stop before it listens for
        signals dies of that one, with nothing in hand."""
        return (0, RECYCLE, -signal.SIGTERM) if self._stopping else (0, RECYCLE)

    def _ended(self, child: Child, code: int) -> None:
        if code == 0 or self._stopping:
            # It was told to end: by us, by an operator's order, or there was nothing left.
            self._code = self._code or (0 if code in self._fine() else 1)
        elif code == USAGE:
            self._code = USAGE
            self._stop()
        else:
            child.restart(code)

    def _wait(self) -> float:
        due = [child.at for child in self._children if child.at is not None]
        return max(0.0, min([*due, self._kill_at, self._clock() + 5.0]) - self._clock())

    def _kill(self) -> None:
        for child in self._children:
            if child.process is not None:
                logger.error("killing worker process %d", child.process.pid)
                child.process.kill()
                child.process.wait()


def _emptied(readable: socket.socket) -> None:
    try:
        while os.read(readable.fileno(), 4096):
            pass
    except BlockingIOError:
        pass
