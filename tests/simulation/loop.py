"""One seeded event loop for a whole cluster: threads and processes are *strands* of callbacks.

A strand stands for one thread with an event loop of its own: its callbacks run in the order in
which they were scheduled, as asyncio promises; between strands nothing is promised, so whoever
runs next is drawn by the seed. The clock moves only when nothing is left to run. A strand that is
*held* runs nothing while its clock moves on (SIGSTOP, or a handler that blocks its loop); one that
is *dead* never runs again, not even a ``finally`` block (SIGKILL).
"""

from __future__ import annotations

import asyncio
import contextvars
import gc
import heapq
import inspect
from collections import deque
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any, TypeVar

T = TypeVar("T")

#: The strand that runs; copied into everything that is scheduled from it.
STRAND: contextvars.ContextVar[Strand] = contextvars.ContextVar("strand")

#: What the clock shows at the beginning.
BEGIN = 1000.0
#: Callbacks between two looks at the loop's own state.
BURST = 64
#: A timer goes off up to this much late (seconds): which of two close ones is first, is drawn.
JITTER = 0.002
#: Most callbacks of one schedule: beyond it something spins without the clock moving.
MOST = 3_000_000


class Standstill(Exception):
    """Everything waits, and nothing will ever happen."""


class Strand:
    """One thread: the callbacks that wait for their turn in it."""

    __slots__ = (
        "at_step",
        "context",
        "dead",
        "held",
        "listed",
        "name",
        "owner",
        "ready",
        "steps",
        "tasks",
    )

    def __init__(self, name: str, owner: Any = None) -> None:
        self.name = name
        self.owner = owner  # the process it belongs to
        self.ready: deque[asyncio.Handle] = deque()
        self.listed = False
        self.held = 0  # how many reasons there are to hold it
        self.dead = False
        self.steps = 0  # callbacks run so far
        self.at_step: tuple[int, Callable[[], None]] | None = None  # called before that step
        self.tasks: list[asyncio.Task[Any]] = []
        self.context = contextvars.copy_context()
        self.context.run(STRAND.set, self)

    def __repr__(self) -> str:
        return self.name

    def unfinished(self) -> list[asyncio.Task[Any]]:
        """Its tasks that have not ended."""
        self.tasks = [task for task in self.tasks if not task.done()]
        return self.tasks


class SeededLoop(asyncio.BaseEventLoop):
    """Runs strands in an order drawn by ``random``.

    Args:
        random: draws who runs next, and by how much timers are late.
        loose: draw the next callback among the first few of its strand, too. asyncio promises
            their order; code that does not need that promise is sturdier.
    """

    def __init__(self, random: Random, *, loose: bool = False) -> None:
        super().__init__()
        self.now = BEGIN
        self.home = Strand("home")
        self._draw = random.random
        self._loose = loose
        self._runnable: list[Strand] = []
        self._timers: list[tuple[float, int, asyncio.TimerHandle, Strand]] = []
        self._count = 0
        self._steps = 0
        self._strands = [self.home]
        self._over = False
        self._look_at = 0.0
        self.watched: tuple[float, Callable[[], None]] | None = None  # called so often
        self.set_exception_handler(self._failed)
        self.faults: list[str] = []  # what no task of ours raised to its waiter

    # -- what asyncio asks of a loop -------------------------------------------------------------

    def time(self) -> float:
        """Virtual seconds."""
        return self.now

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., Any], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        """Schedule in the strand of the context."""
        if context is None:
            context = contextvars.copy_context()
        handle = asyncio.Handle(callback, args, self, context)
        self._append(context.get(STRAND, self.home), handle)
        return handle

    call_soon_threadsafe = call_soon  # type: ignore[assignment]

    def call_later(  # type: ignore[override]
        self,
        delay: float,
        callback: Callable[..., Any],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        """Schedule for later, by the virtual clock."""
        return self.call_at(self.now + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self,
        when: float,
        callback: Callable[..., Any],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        """Schedule for a virtual time, a little late."""
        if context is None:
            context = contextvars.copy_context()
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        self._count += 1
        late = when + self._draw() * JITTER
        strand = context.get(STRAND, self.home)
        heapq.heappush(self._timers, (late, self._count, handle, strand))
        return handle

    def create_task(  # type: ignore[override]
        self,
        coro: Coroutine[Any, Any, T],
        *,
        name: str | None = None,
        context: contextvars.Context | None = None,
    ) -> asyncio.Task[T]:
        """A task, kept with its strand: were it collected, its ``finally`` blocks would run."""
        if context is None:
            context = contextvars.copy_context()
        task = asyncio.Task(coro, loop=self, name=name or "task", context=context)
        strand = context.get(STRAND, self.home)
        if not strand.tasks and strand not in self._strands:
            self._strands.append(strand)
        strand.tasks.append(task)
        if len(strand.tasks) > 500:
            strand.unfinished()
        return task

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Cancelled timers are passed over when their time comes."""

    def _process_events(self, event_list: object) -> None:
        raise AssertionError("there are no files or sockets here")

    def _write_to_self(self) -> None:
        raise AssertionError("there are no threads here")

    def _run_once(self) -> None:
        runnable = self._runnable
        if not runnable:
            self._advance()
        for _ in range(BURST):
            if not runnable or self._stopping:  # type: ignore[attr-defined]
                return
            n = int(self._draw() * len(runnable))
            strand = runnable[n]
            handle = self._next(strand.ready)
            if not strand.ready:
                strand.listed = False
                runnable[n] = runnable[-1]
                runnable.pop()
            if handle._cancelled:
                continue
            strand.steps += 1
            if strand.at_step is not None and strand.at_step[0] <= strand.steps:
                act, strand.at_step = strand.at_step[1], None
                act()
                if strand.dead:
                    continue
            handle._run()
        self._steps += BURST
        if self._steps > MOST:
            raise Standstill(f"{self._steps} callbacks, and no end")

    def _next(self, ready: deque[asyncio.Handle]) -> asyncio.Handle:
        if self._loose and len(ready) > 1:
            n = int(self._draw() * min(len(ready), 4))
            handle = ready[n]
            del ready[n]
            return handle
        return ready.popleft()

    def _advance(self) -> None:
        # At this moment nothing is left to run: whoever looks sees all at rest, and draws nothing.
        if self.watched is not None and self.now >= self._look_at:
            self._look_at = self.now + self.watched[0]
            self.watched[1]()
        timers = self._timers
        while timers and timers[0][2]._cancelled:
            heapq.heappop(timers)
        if not timers:
            raise Standstill("everything waits, and nothing will ever happen")
        self.now = max(self.now, timers[0][0])
        while timers and timers[0][0] <= self.now:
            _, _, handle, strand = heapq.heappop(timers)
            self._append(strand, handle)

    def _append(self, strand: Strand, handle: asyncio.Handle) -> None:
        if strand.dead or self._over:
            return
        strand.ready.append(handle)
        if not strand.listed and not strand.held:
            strand.listed = True
            self._runnable.append(strand)

    # -- what is done to strands -----------------------------------------------------------------

    def hold(self, strand: Strand) -> None:
        """Let it run nothing, until it was released as often."""
        strand.held += 1
        self._unlist(strand)

    def release(self, strand: Strand) -> None:
        """Let it go on, with everything that gathered."""
        strand.held -= 1
        if not strand.held and strand.ready and not strand.dead:
            strand.listed = True
            self._runnable.append(strand)

    def kill(self, strand: Strand) -> None:
        """Never run anything of it again."""
        strand.dead = True
        strand.ready.clear()
        self._unlist(strand)
        for task in strand.tasks:
            if task.done():  # whoever was about to ask for its exception is dead
                task._log_traceback = False

    def spawn(self, strand: Strand, coroutine: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run a coroutine in a strand."""
        return self.create_task(coroutine, context=strand.context)

    def _unlist(self, strand: Strand) -> None:
        if strand.listed:
            strand.listed = False
            self._runnable.remove(strand)

    # -- the end ---------------------------------------------------------------------------------

    def _failed(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        self.faults.append(f"{context.get('message')}: {error!r}")

    def bury(self) -> None:
        """After the schedule: let go of what the dead and the held left, without a sound."""
        self._over = True
        self._runnable.clear()
        self._timers.clear()
        # A task whose coroutine was closed never counts as done; closing it may make others.
        known: set[asyncio.Task[Any]] = set()
        while left := [
            task for strand in self._strands for task in strand.unfinished() if task not in known
        ]:
            for task in left:
                task._log_destroy_pending = False  # type: ignore[attr-defined]
                _close(task.get_coro())
            known.update(left)


def _close(coroutine: Any) -> None:
    """Close a coroutine, also one whose ``finally`` blocks wait for something."""
    if inspect.getcoroutinestate(coroutine) == inspect.CORO_CREATED:
        for given in coroutine.cr_frame.f_locals.values():
            if inspect.iscoroutine(given):  # it was to await this one
                _close(given)
    for _ in range(20):
        try:
            coroutine.close()
        except BaseException:  # whatever its last words are, nobody listens
            continue
        return


def run(loop: SeededLoop, main: Coroutine[Any, Any, T]) -> T:
    """Run to the end, with the collector off: when it would run depends on the process."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        return loop.run_until_complete(loop.spawn(loop.home, main))
    finally:
        loop.bury()
        loop.close()
        if collecting:
            gc.enable()
