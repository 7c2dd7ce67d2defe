"""``--processes N``: spawns workers, replaces those that die, passes signals on.

Children are spawned, never forked, each in a session of its own, so that a terminal's Ctrl-C
reaches them once: from here. Each watches its standard input, which closes when this process
ends, however it ends; a guardian kills those that do not see it, as :mod:`.guardian` says.
``--processes N-M``: as many as the load asks for, as :mod:`.fleet` says.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from xqueue_core.cli.child import Child
from xqueue_core.cli.fleet import Fleet
from xqueue_core.cli.guard import Guard
from xqueue_core.cli.signals import heeded
from xqueue_core.cli.words import USAGE, Word

logger = logging.getLogger("xqueue.worker")

#: Seconds beyond the grace time after which children that do not stop are killed.
PATIENCE = 20.0
#: Seconds that the end of children which were killed is waited for.
REAPED = 5.0
#: Longest time between two looks at the children, and where their number may change (seconds).
LOOK_EVERY = 5.0
COUNT_EVERY = 1.0


def supervise(processes: int, grace: float, least: int | None = None) -> int:
    """Run ``least`` (by default all) to ``processes`` workers with this command's arguments;
    answers the exit code."""
    arguments = [*sys.argv[1:], "--supervised"]
    command = [sys.executable, "-m", "xqueue_core.cli", *arguments]
    fleet = None if least in (None, processes) else Fleet(least or 1, processes)
    return Supervisor(command, least or processes, grace, fleet=fleet).run()


class Supervisor:
    """Runs in a process of its own, in its main thread, and has no other.

    Args:
        processes: how many are started at first.
        fleet: says when there should be more or fewer; without it their number is fixed.
    """

    def __init__(
        self,
        command: Sequence[str],
        processes: int,
        grace: float,
        clock: Callable[[], float] = time.monotonic,
        fleet: Fleet | None = None,
    ) -> None:
        self._command = command
        self._clock = clock
        self._fleet = fleet
        self._children = [self._child() for _ in range(processes)]
        self._grace = grace
        self._guard = Guard(grace + PATIENCE, clock)
        self._wishes = 0  # signals to stop
        self._stopping = False
        self._code = 0
        self._counted = float("-inf")

    def run(self) -> int:
        """Supervise until all children have ended for good; answers the exit code."""
        with _woken() as wake, heeded(self._stop):
            try:
                while self._look():
                    select.select([wake], [], [], self._wait())
                    _emptied(wake)
            finally:
                self._kill()
                self._guard.close()
        return self._code

    def _child(self) -> Child:
        return Child(self._command, self._clock)

    def _stop(self) -> None:
        """A signal: drain all; asked again, have all hand back at once."""
        self._wishes += 1
        self._drain(hurry=self._wishes > 1)

    def _drain(self, *, hurry: bool = False) -> None:
        self._stopping = True
        patience = PATIENCE + (0.0 if hurry else self._grace)
        for child in self._children:
            # To one that drains already, a first wish would be a second one.
            if hurry or not child.leaving:
                child.stop(min(child.kill_at, self._clock() + patience))

    def _look(self) -> bool:
        """See who ended, start who is due; False if nobody is left."""
        now = self._clock()
        for child in self._children:
            if now >= child.kill_at:
                child.kill()
            child.busy()  # heard often, so that its pipe has room for its last word
            end = child.ended()
            if end is not None:
                self._ended(child, end[0])
            if child.at is not None and child.at <= now and not self._stopping:
                self._start(child)
        self._children = [child for child in self._children if child.here]
        self._count(now)
        self._guard.look([one.process.pid for one in self._children if one.process is not None])
        return bool(self._children)

    def _start(self, child: Child) -> None:
        try:
            child.start()
        except OSError as error:
            logger.error("a worker process cannot be started: %s", error)
            child.restart()
            return
        if self._stopping:  # since: it was not there yet to be told
            child.stop(child.kill_at)

    def _ended(self, child: Child, word: Word | None) -> None:
        if child.leaving:
            self._code = self._code or int(word is None)
        elif word is Word.ORDERED:
            logger.info("an operator ordered it to end: its place stays empty")
        elif word is Word.USAGE:
            self._code = USAGE
            self._drain()
        elif word is not Word.EMPTY:
            if word is Word.STOPPED:  # somebody signalled it, and not us
                logger.warning("it was not asked to end: another takes its place")
            child.restart(word)

    def _count(self, now: float) -> None:
        """One more, or one less, if it is time for that."""
        if self._fleet is None or self._stopping or now - self._counted < COUNT_EVERY:
            return
        self._counted = now
        staying = [child for child in self._children if not child.leaving]
        busy = [child.busy() for child in staying]
        change = self._fleet.next(now, busy, len(self._children) - len(staying))
        if change > 0:
            logger.info("all %d worker processes are saturated: one more", len(staying))
            self._children.append(self._child())
            self._start(self._children[-1])
        elif change < 0:
            logger.info("one of %d worker processes is superfluous", len(staying))
            shares = [(one.share if one else 0.0, -at) for at, one in enumerate(busy)]
            staying[shares.index(min(shares))].stop(now + self._grace + PATIENCE)

    def _wait(self) -> float:
        now = self._clock()
        dues = [child.at for child in self._children if child.at is not None]
        dues += [child.kill_at for child in self._children]
        return max(0.0, min([*dues, now + (COUNT_EVERY if self._fleet else LOOK_EVERY)]) - now)

    def _kill(self) -> None:
        """Leave nobody behind."""
        for child in self._children:
            child.kill()
        until = self._clock() + REAPED
        for child in self._children:
            while child.process is not None and self._clock() < until:
                if child.ended() is None:
                    time.sleep(0.01)


@contextmanager
def _woken() -> Iterator[socket.socket]:
    """A socket that becomes readable with each signal: one that comes between a look and the
    wait is not missed."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.setblocking(False)
        old_fd = signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
        before = signal.signal(signal.SIGCHLD, lambda *_: None)
        try:
            yield ours
        finally:
            signal.set_wakeup_fd(old_fd)
            signal.signal(signal.SIGCHLD, before)


def _emptied(readable: socket.socket) -> None:
    try:
        while os.read(readable.fileno(), 4096):
            pass
    except BlockingIOError:
        pass
