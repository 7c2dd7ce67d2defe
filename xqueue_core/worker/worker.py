"""The worker: an engine in a thread of its own, and handlers on the loop that runs it."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from xqueue_core.abc import Role
from xqueue_core.errors import ConfigError
from xqueue_core.ids import Uuid7
from xqueue_core.worker.crossing import Crossing
from xqueue_core.worker.duties import Exit, Life
from xqueue_core.worker.engine import Engine
from xqueue_core.worker.executor import Executor
from xqueue_core.worker.options import WorkerOptions
from xqueue_core.worker.tools import Term, Tools

if TYPE_CHECKING:
    from xqueue_core.app import XQueue
    from xqueue_core.handlers import HandlerSpec

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
    run on here: end the process soon after.

    Args:
        app: what to run.
        name: the readable part of the worker's id; by default the host's name.
        burst: end when nothing is pending in the lanes served. Tasks scheduled for later, and
            those that other workers run, are left.
        recycle: end, with :attr:`Exit.RECYCLE`, when code outlives its time-out by the grace
            time and cannot be stopped. For workers that own their process.
        tools: clock, sleep and randomness.
        overrides: ``concurrency``, ``prefetch``, ``threads``, ``lanes``, ``types``, ``grace``,
            ``lease``, ``heartbeat``, ``lease_wait``, in place of the app's settings.

    Raises:
        ConfigError: lanes or types are unknown to the app, or nothing is left to serve.
    """

    def __init__(
        self,
        app: XQueue,
        *,
        name: str | None = None,
        burst: bool = False,
        recycle: bool = False,
        tools: Tools | None = None,
        loop_factory: LoopFactory = asyncio.new_event_loop,
        **overrides: Any,
    ) -> None:
        self.app = app
        self.options = WorkerOptions.of(app.settings(), burst=burst, recycle=recycle, **overrides)
        self.specs = served(app.handlers, self.options)
        self.lanes = sorted({spec.lane for spec in self.specs.values()})
        self.id = f"{name or socket.gethostname()}~{Uuid7()()}"
        self.ended = threading.Event()  #: set when the engine has ended, whatever handlers do
        self._tools = tools or Tools()
        self._loop_factory = loop_factory
        self._term = Term(self.options.lease - self.options.margin)
        self._lock = threading.RLock()  # a signal may interrupt stop() by stop()
        self._stops = 0
        self._engine_loop: asyncio.AbstractEventLoop | None = None
        self._life: Life | None = None
        self.exit: Exit | None = None
        self.error: BaseException | None = None  #: what the engine failed with
        #: True if deliveries were given up whose code may run on here: end the process at once.
        self.abandoned = False

    async def run(self) -> Exit:
        """Work until :meth:`stop` is called, an operator orders it, or ``burst`` is done.

        May be called once. Cancelling it stops at once, as a second ``stop()`` does.

        Raises:
            ConfigError, Unsupported: the broker or the plugins do not fit.
            Unavailable: the broker did not answer at the start.
        """
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Exit] = loop.create_future()
        engine_loop = self._loop_factory()
        crossing = Crossing(loop.call_soon_threadsafe, engine_loop.call_soon_threadsafe)
        executor = Executor(
            crossing,
            self.options,
            self._tools,
            self._term,
            loop.call_soon_threadsafe,
            worker=self.id,
            app=self.app,
        )

        def engine() -> None:
            exit, error = None, None
            try:
                with asyncio.Runner(loop_factory=lambda: engine_loop) as runner:
                    exit = self.exit = runner.run(self._engine(crossing))
            except BaseException as raised:  # noqa: BLE001 - it is raised again in run()
                error = self.error = raised
            self.ended.set()
            _tell(loop, done, exit, error)

        threading.Thread(target=engine, name="xqueue-engine", daemon=True).start()
        try:
            return await self._until(done)
        finally:
            executor.close()

    def stop(self) -> None:
        """Drain: lease nothing more, finish within the grace time, hand back the rest.

        Called again, everything is handed back at once. Safe from any thread and from a signal
        handler's; returns immediately.
        """
        with self._lock:
            self._stops += 1
            loop, life = self._engine_loop, self._life
        if loop is not None and life is not None:
            try:
                loop.call_soon_threadsafe(life.stop)
            except RuntimeError:
                logger.debug("stop() after the end")

    async def _until(self, done: asyncio.Future[Exit]) -> Exit:
        try:
            return await asyncio.shield(done)
        except asyncio.CancelledError:
            if not done.done():
                self.stop()
                self.stop()
                await asyncio.wait([done])
            raise

    async def _engine(self, crossing: Crossing) -> Exit:
        """In the engine's thread: two connections, so that no heartbeat waits behind a batch."""
        opened = (self.app.connect(Role.WORKER), self.app.connect(Role.WORKER))
        async with opened[0] as connection, opened[1] as pulse:
            engine = Engine(
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
            life = Life(engine)
            with self._lock:
                self._engine_loop, self._life = asyncio.get_running_loop(), life
                for _ in range(self._stops):
                    life.stop()
            self._hello()
            try:
                return await life.run()
            finally:
                self.abandoned = life.abandoned

    def _hello(self) -> None:
        from xqueue_core.settings import masked

        logger.info(
            "worker %s (pid %d) serves lanes %s on %s, %d slots",
            self.id,
            os.getpid(),
            ", ".join(self.lanes),
            masked(self.app.settings().url),
            self.options.concurrency,
        )


def served(handlers: Mapping[str, HandlerSpec], options: WorkerOptions) -> dict[str, HandlerSpec]:
    """The handlers that a worker with these options runs. Raises ConfigError if none."""
    lanes = {spec.lane for spec in handlers.values()}
    for what, wanted, known in (
        ("lane", options.lanes, lanes),
        ("type", options.types, set(handlers)),
    ):
        unknown = sorted(set(wanted or ()) - known)
        if unknown:
            raise ConfigError(
                f"no handler declares {what} {', '.join(map(repr, unknown))} "
                f"(declared: {', '.join(sorted(known)) or 'none'})"
            )
    found = {
        name: spec
        for name, spec in handlers.items()
        if (options.types is None or name in options.types)
        and (options.lanes is None or spec.lane in options.lanes)
    }
    if not found:
        raise ConfigError("there is no handler to run: declare one with @app.task")
    return found


def _tell(
    loop: asyncio.AbstractEventLoop,
    done: asyncio.Future[Exit],
    exit: Exit | None,
    error: BaseException | None,
) -> None:
    def tell() -> None:
        if done.done():
            return
        if exit is not None:
            done.set_result(exit)
        else:
            done.set_exception(error or RuntimeError("the engine ended without a word"))

    try:
        loop.call_soon_threadsafe(tell)
    except RuntimeError:
        logger.debug("nobody waits for the engine any more")
