"""The thread between the pool and its children: all their input and output, and their ends."""

from __future__ import annotations

import logging
import os
import selectors
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from xqueue_core.worker.isolation.member import Child, Health
from xqueue_core.worker.isolation.pool import Pool
from xqueue_core.worker.isolation.process import Process
from xqueue_core.worker.isolation.verdict import End
from xqueue_core.worker.isolation.wire import Frames, FromChild, Setup, WireError, frame

logger = logging.getLogger("xqueue.worker")

#: Seconds between two looks for children that have ended, where the system does not tell.
POLL = 0.05


class Post(threading.Thread):
    """Runs until the pool is closed and its last child has ended.

    It spawns the children, which end when the thread that spawned them does, and so lives as
    long as they.

    Args:
        setup: what each child is told first.
        make: the pool, around what spawns a child.
    """

    def __init__(self, setup: Setup, make: Callable[[Callable[[], Child]], Pool]) -> None:
        super().__init__(name="xqueue-children", daemon=True)
        self._setup = frame(setup)
        self._pool = make(self._spawn)
        self._selector = selectors.DefaultSelector()
        self._lines: dict[Child, _Line] = {}
        self._calls: deque[Callable[[Pool], None]] = deque()
        self._lock = threading.Lock()
        self._wakes, self._wake = os.pipe()
        os.set_blocking(self._wakes, False)
        self._selector.register(self._wakes, selectors.EVENT_READ)
        self._over = False

    def call(self, call: Callable[[Pool], None]) -> None:
        """Have it called with the pool, in this thread, soon and in order. From any thread."""
        with self._lock:
            self._calls.append(call)
            if len(self._calls) == 1 and not self._over:
                os.write(self._wake, b"\0")

    def run(self) -> None:
        """Serve; what goes wrong here ends the tasks, and nothing else."""
        try:
            while not (self._pool.closed and not self._pool.children):
                self._turn()
        except BaseException:
            logger.critical("isolated tasks cannot be run any more", exc_info=True)
            self._abandon()
        with self._lock:
            self._over = True
            os.close(self._wake)
        self._selector.close()
        os.close(self._wakes)

    # -- turns ---------------------------------------------------------------------------------

    def _turn(self) -> None:
        wait = self._pool.tick()
        if any(line.process.pidfd < 0 for line in self._lines.values()):
            wait = min(wait, POLL)
        for key, mask in self._selector.select(wait):
            if key.data is None:
                self._drain()
                continue
            child, ending = key.data
            if ending:
                self._ended(child)
            elif child in self._lines and self._lines[child].open:
                self._heard(child, mask)
        for child, line in list(self._lines.items()):
            if line.process.pidfd < 0 and line.process.ended():
                self._ended(child)
            self._watch(child, line)

    def _drain(self) -> None:
        with self._lock:
            os.read(self._wakes, 1 << 10)
            calls, self._calls = self._calls, deque()
        for call in calls:
            call(self._pool)

    # -- children ------------------------------------------------------------------------------

    def _spawn(self) -> Child:
        process = Process()
        child = Child(process, self._pool.clock())
        self._lines[child] = _Line(process)
        self._selector.register(process.wire, selectors.EVENT_READ, (child, False))
        if process.pidfd >= 0:
            self._selector.register(process.pidfd, selectors.EVENT_READ, (child, True))
        process.send(self._setup)
        return child

    def _heard(self, child: Child, mask: int) -> None:
        line = self._lines[child]
        if mask & selectors.EVENT_WRITE:
            line.process.send()
        try:
            for data in line.process.received():
                for message in line.frames.feed(data):
                    self._pool.received(child, message)
                if not data:
                    self._deaf(line)
                    self._pool.hung_up(child)
        except WireError as error:
            self._deaf(line)
            self._pool.broken(child, f"does not keep to the protocol: {error}")

    def _ended(self, child: Child) -> None:
        line = self._lines[child]
        if line.open:
            self._heard(child, 0)  # its last words
        self._deaf(line)
        del self._lines[child]
        if line.process.pidfd >= 0:
            self._selector.unregister(line.process.pidfd)
        self._pool.ended(child)

    def _deaf(self, line: _Line) -> None:
        """Listen to it no more."""
        if line.open:
            line.open = False
            self._selector.unregister(line.process.wire)

    def _watch(self, child: Child, line: _Line) -> None:
        """Look whether there is room to write, if something waits for it."""
        mask = selectors.EVENT_READ | (selectors.EVENT_WRITE if line.process.unsent else 0)
        if line.open and line.mask != mask:
            line.mask = mask
            self._selector.modify(line.process.wire, mask, (child, False))

    def _abandon(self) -> None:
        pool = self._pool
        pool.closed, pool.fault = True, "cannot be served any more"
        pool.tell(Health(pool.fault))
        for child in list(pool.children):
            child.process.kill()
            if child.job is not None:
                pool.tell(End(child.job, began=True, fault=pool.fault))
        pool.children.clear()
        for job, _ in pool.waiting:
            pool.tell(End(job, sent=False, fault=pool.fault))


@dataclass(slots=True)
class _Line:
    """What is needed to hear a child that has not ended."""

    process: Process
    frames: Frames[FromChild] = field(default_factory=lambda: Frames(FromChild))
    open: bool = True
    mask: int = selectors.EVENT_READ
