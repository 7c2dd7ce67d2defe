"""The worker: an engine in a thread of its own, and handlers on the loop that runs it."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import socket
import threading
from collections.abc import Callable, Collection
from contextlib import AsyncExitStack, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from xqueue_core.abc import Role
from xqueue_core.connect import check_brokers
from xqueue_core.errors import Unavailable
from xqueue_core.handlers import Kind
from xqueue_core.hooks import Place
from xqueue_core.ids import Uuid7
from xqueue_core.plugged import Plugged, plugged, tell_unused
from xqueue_core.worker.crossing import Crossing
from xqueue_core.worker.duties import Exit, Life
from xqueue_core.worker.engine import Engine
from xqueue_core.worker.executor import Executor
from xqueue_core.worker.hooked import HookedEngine
from xqueue_core.worker.host import Host, Latch, current_host
from xqueue_core.worker.hosting import Hosting
from xqueue_core.worker.isolation.inside import refuse_workers
from xqueue_core.worker.job import Ran
from xqueue_core.worker.lifespan import LAST_WORDS, Lifespan, watched
from xqueue_core.worker.opening import Opening
from xqueue_core.worker.options import WorkerOptions
from xqueue_core.worker.pacing import Busy
from xqueue_core.worker.scheduler import scheduler
from xqueue_core.worker.serving import hello, served, where
from xqueue_core.worker.told import Runs
from xqueue_core.worker.tools import Term, Tools
from xqueue_core.worker.watchdog import Watchdog

if TYPE_CHECKING:
    from xqueue_core.abc import TaskView
    from xqueue_core.app import XQueue
    from xqueue_core.recurring.schedule import Recurring
    from xqueue_core.worker.isolation import Children

logger = logging.getLogger("xqueue.worker")

#: Makes the event loop of the engine's thread.
LoopFactory = Callable[[], asyncio.AbstractEventLoop]


class Worker:
    """Runs the app's handlers for tasks from the broker.

    Embedded in a program of your own::

        worker = Worker(app, concurrency=20)
        await worker.run()       # until somebody calls worker.stop()

    It installs no signal handler and configures no logging. Handlers run on the loop that
    awaits :meth:`run`; the engine has a thread and connections of its own, so that leases are
    kept while a handler blocks that loop. At the end of a stop that the grace time did not
    suffice for, plain functions that are still running are handed back to others although they
    run on here: end the process soon after. So may a plugin that does not close in time, in a
    daemon thread.

    Args:
        app: what to run.
        name: the readable part of the worker's id; by default the host's name.
        burst: end when nothing is pending in the lanes served. Tasks scheduled for later, and
            those that other workers run, are left.
        recycle: end, with :attr:`Exit.RECYCLE`, when code outlives its time-out by the grace
            time and cannot be stopped. For workers that own their process.
        tools: clock, sleep and randomness.
        busy: told once a second how busy the worker is, on its engine's thread; it must not
            block, nor raise.
        overrides: ``concurrency``, ``min_concurrency``, ``prefetch``, ``threads``, ``lanes``,
            ``types``, ``children``, ``tasks_per_child``, ``grace``, ``lease``, ``heartbeat``,
            ``lease_wait``, in place of the app's settings, by whose rules they are checked.

    Raises:
        ConfigError: an option is out of range, lanes or types are unknown to the app, nothing is
            left to serve, a child process would not find the app, or this is such a child.
    """

    def __init__(
        self,
        app: XQueue,
        *,
        name: str | None = None,
        burst: bool = False,
        recycle: bool = False,
        tools: Tools | None = None,
        busy: Callable[[Busy], None] | None = None,
        loop_factory: LoopFactory = asyncio.new_event_loop,
        **overrides: Any,
    ) -> None:
        refuse_workers()
        self.app = app
        self.options = WorkerOptions.of(app.settings(), burst=burst, recycle=recycle, **overrides)
        self.specs = served(app.handlers, self.options)
        self.lanes = sorted({spec.lane for spec in self.specs.values()})
        self._isolated = [spec for spec in self.specs.values() if spec.kind is Kind.PROCESS]
        if self._isolated:
            from xqueue_core.worker.isolation.home import check

            check(app, self._isolated)
        #: The plugins that the settings name; None without any, which then cost nothing.
        self._plugged = plugged(app, Place.WORKER)
        self.id = f"{name or socket.gethostname()}~{Uuid7()()}"
        self.ended = threading.Event()  #: set when the engine has ended, whatever handlers do
        self._tools = tools or Tools()
        self._loop_factory = loop_factory
        self._term = Term(self.options.lease - self.options.margin)
        self._lock = threading.RLock()  # a signal may interrupt stop() by stop()
        self._stops = 0
        self._engine_loop: asyncio.AbstractEventLoop | None = None
        self._life: Life | None = None
        self._opening: Opening | None = None
        self._engine: Engine | None = None
        self._busy = busy
        self._slots: int | None = None  # set by hand
        self._host: Host | None = None
        self._lifespan: Lifespan | None = None
        self._thread = 0  # the handlers'
        self._children: Children | None = None
        #: True once it may lease. Before, its process can be ended and nobody misses anything.
        self.begun = False
        self._past: Collection[Ran] = ()
        self.exit: Exit | None = None
        self.error: BaseException | None = None  #: what the engine failed with
        #: True if deliveries were given up whose code may run on here: end the process at once.
        self.abandoned = False
        self.lingers = False  #: a plugin's code that was given up runs on in a thread
        #: Seconds that the app's lifespan may still take to end; 0 when it has, or there is none.
        self.leaving = 0.0

    async def run(self) -> Exit:
        """Work until :meth:`stop` is called, an operator orders it, or ``burst`` is done.

        On asyncio or trio. Cancelling it stops at once, as a second ``stop()`` does.

        Raises:
            RuntimeError: it was called before; a worker runs once.
            ConfigError, Unsupported: the broker or the plugins do not fit.
            PluginFailed: a plugin could not be opened.
            Unavailable: the broker did not answer at the start.
            What the app's lifespan raises: nothing was leased if that was at its beginning, and
            every outcome was settled if it was at its end. TimeoutError: its end took longer
            than ``grace``.
        """
        refuse_workers()  # it may be a fork of the process that made it
        tell_unused(self.app)
        if self._host is not None:
            raise RuntimeError(f"worker {self.id} was run before: make another Worker")
        host = self._host = current_host()
        self._thread = threading.get_ident()
        make = getattr(self.app, "lifespan", None)
        if make is None:
            self.begun = True
            return await self._work(host, None, contextvars.copy_context())
        check_brokers(self.app.settings(), self.app._backends)  # before anything is opened in vain
        lifespan = Lifespan(host, partial(make, self.app), self.stop)
        with self._lock:
            self._lifespan = lifespan
            stopped = self._stops > 0
        try:
            entered = not stopped and await self._enter(host, lifespan)
        except BaseException as error:
            if lifespan.inside:
                await self._leave(lifespan, failed=True)
            elif isinstance(error, Exception):
                # Whoever runs the worker is told by the exception, traceback and all.
                logger.error("the app's lifespan failed at its start: %r", error)
            raise
        if not entered:
            self.exit = Exit.STOPPED
            return self.exit
        self.leaving = self.options.grace + LAST_WORDS
        with self._lock:
            self.begun = not self._stops
        try:
            if self.begun:
                exit = await self._work(host, lifespan.state, lifespan.base)
            else:  # stopped while it blocked the loop: no broker need be asked for anything
                exit = self.exit = Exit.STOPPED
        except BaseException:
            await self._leave(lifespan, failed=True)
            raise
        await self._leave(lifespan, failed=False)
        return exit

    def stop(self) -> None:
        """Drain: lease nothing more, finish within the grace time, hand back the rest.

        Called again, everything is handed back at once. Safe from any thread and from a signal
        handler's; returns immediately.
        """
        with self._lock:
            self._stops += 1
            host, lifespan, stops = self._host, self._lifespan, self._stops
            loop, life = self._engine_loop, self._life
            plugins = self._opening
        # Either may have ended: the engine has when the lifespan is left.
        for one in (plugins, life):
            if loop is not None and one is not None:
                with suppress(RuntimeError):
                    loop.call_soon_threadsafe(one.stop)
        if host is not None and lifespan is not None and (life is None or stops > 1):
            with suppress(RuntimeError):
                host.soon(lifespan.refuse if stops == 1 else lifespan.cancel)

    def drain(self) -> None:
        """Do as :meth:`stop` does when it is called first, and nothing if it was called."""
        with self._lock:
            if not self._stops:
                self.stop()

    def end_children(self, seconds: float) -> None:
        """End the child processes of isolated tasks, and wait so long at most until they have."""
        if self._children is not None:
            self._children.end(seconds)

    def resize(self, slots: int) -> None:
        """Have so many slots from now on, whatever the load; safe from any thread.

        What runs in slots that are taken away runs on, and nothing starts in their place. A
        worker whose slots follow the load (``min_concurrency``) does so no more.

        Raises:
            ValueError: ``slots`` is not 1 to 100000.
        """
        if not 1 <= slots <= 100_000:
            raise ValueError(f"{slots!r} slots: wanted are 1 to 100000")
        with self._lock:
            self._slots = slots
            loop, engine = self._engine_loop, self._engine
        if loop is not None and engine is not None:
            try:
                loop.call_soon_threadsafe(engine.fix, slots)
            except RuntimeError:
                logger.debug("resize() after the end")

    async def _enter(self, host: Host, lifespan: Lifespan) -> bool:
        with watched(host):
            return await lifespan.enter()

    async def _leave(self, lifespan: Lifespan, *, failed: bool) -> None:
        if self.abandoned and self.options.recycle:
            logger.warning("the app's lifespan is not left: code that was given up may use it")
            return
        try:
            await lifespan.leave(self.options.grace)
        except Exception:
            logger.exception("the app's lifespan failed at its end")
            if not failed:
                raise
        finally:
            self.leaving = 0.0

    async def _work(self, host: Host, state: Any, base: contextvars.Context) -> Exit:
        engine_loop = self._loop_factory()
        crossing = Crossing(host.soon, engine_loop.call_soon_threadsafe)
        runs = None
        if self._plugged is not None:
            runs = Runs(self._plugged, self.id, self._tools.clock)
        executor = Executor(
            crossing,
            self.options,
            self._tools,
            self._term,
            host,
            worker=self.id,
            app=self.app,
            state=state,
            base=base,
            runs=runs,
        )
        if self._isolated:
            executor.runner(Kind.PROCESS)  # its first child starts now
            self._children = executor.children
        self._past = executor.past
        done, hosting = host.latch(), Hosting(engine_loop)

        def engine() -> None:
            try:
                self.exit = hosting.run(self._run_engine(crossing))
            except Unavailable as raised:
                if self._life is not None or not self._stops:
                    self.error = raised
                else:  # stopped before there was an answer, and so before there was work
                    self.exit = Exit.STOPPED
            except BaseException as raised:  # noqa: BLE001 - it is raised again in run()
                self.error = raised
            self.lingers = hosting.lingers
            self.ended.set()
            with suppress(RuntimeError):  # nobody waits for the engine any more
                host.soon(done.set)
            hosting.linger()

        threading.Thread(target=engine, name="xqueue-engine", daemon=True).start()
        try:
            await self._until(host, done)
        finally:
            executor.close()
        if self.error is not None:
            raise self.error
        if self.exit is None:
            raise RuntimeError("the engine ended without a word")
        return self.exit

    async def _until(self, host: Host, done: Latch) -> None:
        """Wait for the engine's end; cancelled, or interrupted at the keyboard, hasten it."""
        hastened: tuple[type[BaseException], ...] = (*host.cancelled, KeyboardInterrupt)
        try:
            await done.wait()
        except hastened:
            self.stop()
            self.stop()
            await done.held()
            raise

    async def _run_engine(self, crossing: Crossing) -> Exit:
        """In the engine's thread: two connections, so that no heartbeat waits behind a batch."""
        if self._children is not None:
            await self._children.ready(lambda: self._stops > 0)
        opened = (self.app.connect(Role.WORKER), self.app.connect(Role.WORKER))
        async with opened[0] as connection, opened[1] as pulse, AsyncExitStack() as stack:
            make: Callable[..., Engine] = Engine
            if self._plugged is not None:
                if not await self._open(self._plugged, stack, connection.faces.view):
                    return Exit.STOPPED
                make = partial(HookedEngine, plugged=self._plugged)
            engine = make(
                self.id,
                connection.faces,
                pulse.faces,
                self.specs,
                self.lanes,
                crossing,
                self.options,
                self._tools,
                self._term,
            )
            recurring = [] if self.options.burst else self._recurring()
            life = Life(
                engine,
                self._busy,
                scheduler(recurring, connection, engine.keeper.time, self._tools),
                where(connection.settings),
            )
            with self._lock:
                self._engine = engine
                if self._slots is not None:
                    engine.fix(self._slots)
                self._engine_loop, self._life = asyncio.get_running_loop(), life
                for _ in range(self._stops):
                    life.stop()
            hello(self.id, self.lanes, self.options, self.app.settings())
            if isinstance(engine, HookedEngine):
                await stack.enter_async_context(engine.told())
            watching = asyncio.create_task(self._watchdog(engine).run())
            try:
                exit = await life.run()
            finally:
                watching.cancel()
                self.abandoned = life.abandoned
            if self.abandoned and self.options.recycle:
                # Others may start by now what runs on here: the process ends before all else.
                self.exit = exit
                self.ended.set()
            return exit

    async def _open(self, plugged: Plugged, stack: AsyncExitStack, view: TaskView | None) -> bool:
        """Open the plugins. False if stopped before that was done: nothing was leased by then."""
        opening = Opening(plugged, self.options.grace)
        with self._lock:
            self._engine_loop, self._opening = asyncio.get_running_loop(), opening
            for _ in range(self._stops):
                opening.stop()
        return await opening.open(stack, self.id, view)

    def _watchdog(self, engine: Engine) -> Watchdog:
        def ping(call: Callable[[], None]) -> None:
            if self._host is not None:  # run() has set it
                self._host.soon(call)

        return Watchdog(
            ping,
            self._thread,
            engine.desk.active,
            self._tools,
            past=self._past,
            blocked=engine.pauses.blocks,
        )

    def _recurring(self) -> list[Recurring]:
        """The schedules of the types served."""
        return [one for one in self.app.schedules.values() if one.spec.name in self.specs]
