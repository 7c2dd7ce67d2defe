"""The thread between the pool and its children: all their input and output, and their ends."""

from __future__ import annotations

import logging
import os
import selectors
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from xqueue_core.worker.isolation.member import At, Child, Gone, Health, Room
from xqueue_core.worker.isolation.pool import Pool
from xqueue_core.worker.isolation.process import Process
from xqueue_core.worker.isolation.saying import say
from xqueue_core.worker.isolation.verdict import End
from xqueue_core.worker.isolation.wire import Frames, FromChild, Setup, WireError, frame

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

    def start(self) -> None:
        """Raises RuntimeError if the system gives no thread; nothing is left of this then."""
        try:
            super().start()
        except RuntimeError:
            self._end()
            raise

    def call(self, call: Callable[[Pool], None]) -> None:
        """Have it called with the pool, in this thread, soon and in order. From any thread."""
        with self._lock:
            if not self._over:
                self._calls.append(call)
                if len(self._calls) == 1:
                    os.write(self._wake, b"\0")
                return
        call(self._pool)  # it is closed and empty: what is to be started is handed back

    def run(self) -> None:
        """Serve; what goes wrong here ends the tasks, and nothing else."""
        try:
            while not (self._pool.closed and not self._pool.children):
                self._turn()
        except BaseException as error:  # noqa: BLE001 - whatever it is, the tasks must be told
            say(logging.CRITICAL, "child processes cannot be served any more", error=error)
            self._abandon(f"cannot be served any more: {error!r}")
        self._end()

    def _end(self) -> None:
        with self._lock:
            self._over = True
            os.close(self._wake)
        while (call := self._next()) is not None:
            try:
                call(self._pool)
            except Exception as error:  # noqa: BLE001 - the others are to be answered
                say(logging.ERROR, "a word to child processes is lost", error=error)
        self._selector.close()
        os.close(self._wakes)

    # -- turns ---------------------------------------------------------------------------------

    def _turn(self) -> None:
        wait = self._pool.tick()
        if any(line.polled for line in self._lines.values()):
            wait = min(wait, POLL)
        for key, mask in self._selector.select(wait):
            if key.data is None:
                self._drain()
                continue
            child, ending = key.data
            line = self._lines.get(child)
            if line is not None:
                with self._alone(child):
                    if ending:
                        self._ended(child)
                    elif line.open:
                        self._heard(child, mask)
        for child, line in list(self._lines.items()):
            with self._alone(child):
                if line.polled and line.process.ended():
                    self._ended(child)
                self._watch(child, line)

    def _drain(self) -> None:
        with self._lock:
            os.read(self._wakes, 1 << 10)
        # One by one: should one of them raise, the others are still there, and get their answer.
        while (call := self._next()) is not None:
            call(self._pool)

    def _next(self) -> Callable[[Pool], None] | None:
        with self._lock:
            return self._calls.popleft() if self._calls else None

    @contextmanager
    def _alone(self, child: Child) -> Iterator[None]:
        """Whatever goes wrong within is this child's affair: it is heard no more, and ends."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - one for all: nobody else is to pay for it
            line = self._lines.get(child)
            if line is not None and line.faulty:
                del self._lines[child]  # not even its end can be seen
            elif line is not None:
                line.faulty = True
                with suppress(Exception):
                    self._deaf(line)
                if not line.polled:
                    line.polled = True
                    with suppress(Exception):
                        self._selector.unregister(line.process.pidfd)
            self._pool.faulty(child, error)

    # -- children ------------------------------------------------------------------------------

    def _spawn(self) -> Child:
        process = Process()
        child = Child(process, self._pool.clock())
        line = self._lines[child] = _Line(process, polled=process.pidfd < 0)
        try:
            self._selector.register(process.wire, selectors.EVENT_READ, (child, False))
            if not line.polled:
                self._selector.register(process.pidfd, selectors.EVENT_READ, (child, True))
            process.send(self._setup)
        except BaseException:
            del self._lines[child]
            for one in (process.wire, process.pidfd):
                with suppress(KeyError, ValueError):
                    self._selector.unregister(one)
            process.kill()
            process.reap()
            raise
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
        if not line.polled:
            self._selector.unregister(line.process.pidfd)
        del self._lines[child]
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

    def _abandon(self, fault: str = "cannot be served any more") -> None:
        """Tell how each task ends, for nobody hears its child any more."""
        pool = self._pool
        pool.closed, pool.fault = True, fault
        pool.tell(Health(fault))
        left = list(pool.children)
        pool.children.clear()
        for child in left:
            with suppress(Exception):
                child.process.kill()
        for child in left:
            if child.at is At.IDLE:
                pool.tell(Room(-1))
            if child.job is not None:
                # What it has said stands, and so does why it was killed.
                said, why, began = child.outcome, child.why, child.began
                pool.tell(End(child.job, said, why, True, began, fault=child.fault or fault))
        while pool.waiting:
            pool.tell(End(pool.waiting.popleft()[0], sent=False, fault=fault))
        pool.tell(Gone())
        for child in left:
            with suppress(Exception):
                child.process.swept()
                child.process.reap()


@dataclass(slots=True)
class _Line:
    """What is needed to hear a child that has not ended."""

    process: Process
    frames: Frames[FromChild] = field(default_factory=lambda: Frames(FromChild))
    polled: bool = False  # its end does not show by itself
    faulty: bool = False  # hearing it has failed
    open: bool = True
    mask: int = selectors.EVENT_READ
