"""The main program of a child process: loads the app, runs one task or several, ends."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Awaitable
from contextlib import ExitStack
from importlib import import_module
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from xqueue_core.app import XQueue
from xqueue_core.connect import BackendCache
from xqueue_core.context import Context
from xqueue_core.errors import ConfigError, Unsupported
from xqueue_core.handlers import HandlerSpec, Kind
from xqueue_core.places import find_app, imported
from xqueue_core.task import AnyOutcome, Failed, Progress, RetryAt, Success
from xqueue_core.worker.isolation import confine, inside, told
from xqueue_core.worker.isolation.wire import (
    LONGEST_TEXT,
    VERSION,
    Began,
    Done,
    Frames,
    Message,
    Ready,
    Reported,
    Returned,
    Run,
    Setup,
    ToChild,
    Unfit,
    WireError,
    frame,
)
from xqueue_core.worker.job import Job
from xqueue_core.worker.outcomes import BadArguments, of_error, of_value
from xqueue_core.worker.progress import INTERVAL

if TYPE_CHECKING:
    from xqueue_core.plugged import Plugged

logger = logging.getLogger("xqueue.worker")


def main(wire: int, life: int, parent: int) -> None:
    """Serve the worker at the other end of ``wire``; for ``life`` see :mod:`~.confine`."""
    confine.end_with_parent(life, parent)
    confine.ignore_requests_to_stop()
    confine.be_taken_first()
    os.set_inheritable(wire, False)
    line = Line(socket.socket(fileno=wire))
    setup = line.orders.get()
    if isinstance(setup, Setup):
        inside.here.place = inside.Place.LOADING
        with ExitStack() as stack:
            try:
                app = load(setup)
                plugins = stack.enter_context(told.opened(app, setup.worker))
            except BaseException as error:  # noqa: BLE001 - whatever its modules do when imported
                why = str(error) if isinstance(error, ConfigError) else traceback.format_exc()
                line.send(Unfit(why[-LONGEST_TEXT:]))
                return
            inside.here.place = inside.Place.SERVING
            line.send(Ready(VERSION))
            serve(line, app, setup, plugins)


def serve(line: Line, app: XQueue, setup: Setup, plugins: Plugged | None) -> None:
    """Run what is sent, one after another; after so many tasks, end."""
    for _ in range(setup.tasks):
        order = line.orders.get()
        if not isinstance(order, Run):
            return
        spec = app.handlers[order.delivery.task.type]
        line.send(Began())
        visit = told.enter(plugins, order.delivery, setup.worker, order.carried)
        task = Task(line, app, setup, spec, order)
        outcome = run(task)
        error, task.error = task.error, None
        flush()
        if visit is not None or task.runner is not None:
            # First of all: neither a plugin nor what closes slowly can make a time-out, and another
            # attempt, of what has ended.
            line.send(Returned(outcome))
            told.leave(visit, error)
            task.close()
            flush()
        line.send(Done(outcome))


class Line:
    """The wire to the worker. A thread reads, and ends the process when there is nobody left."""

    def __init__(self, wire: socket.socket) -> None:
        self._wire = wire
        self._lock = threading.Lock()
        self.orders: SimpleQueue[ToChild] = SimpleQueue()
        threading.Thread(target=self._read, name="xqueue-wire", daemon=True).start()

    def send(self, message: Message) -> None:
        """Send; waits until the worker has room for it."""
        data = frame(message)
        with self._lock:
            self._wire.sendall(data)

    def _read(self) -> None:
        frames: Frames[ToChild] = Frames(ToChild)
        try:
            while data := self._wire.recv(1 << 16):
                for message in frames.feed(data):
                    self.orders.put(message)
        except WireError as error:
            # A header that is no text, for one: the task's, so that the next child fares as ill.
            logger.error("what the worker has sent is not understood: %s", error)
        finally:
            os.killpg(0, signal.SIGKILL)


class Task:
    """One task here: what its context knows of it, a :class:`~xqueue_core.context.Run`."""

    def __init__(
        self, line: Line, app: XQueue, setup: Setup, spec: HandlerSpec, order: Run
    ) -> None:
        self.app = app
        self.spec = spec
        self.job = Job(order.delivery, spec)
        self.memory = order.memory
        self.error: BaseException | None = None  # what its handler has raised
        self.runner: asyncio.Runner | None = None  # of a coroutine
        self.largest = setup.largest
        self._until = None if order.left is None else time.monotonic() + order.left
        self._line = line
        self._lock = threading.Lock()
        self._reported = float("-inf")
        self._later: threading.Timer | None = None
        self._latest: Progress | None = None
        self.context = Context(order.delivery, self, setup.worker, app)

    def close(self) -> None:
        """Close what a coroutine has left: its loop, and the app's connection there."""
        runner, self.runner = self.runner, None
        if runner is None:
            return
        try:
            with runner:
                runner.run(self.app.aclose())
        except BaseException:  # SystemExit too: how the task ended was said
            logger.exception("%s: what it has left failed at its end", self.job.id)

    def told(self) -> bool:
        """Never: who should end here is killed."""
        return False

    def left(self) -> float | None:
        """Seconds until the time-out."""
        return None if self._until is None else max(0.0, self._until - time.monotonic())

    def report(self, progress: Progress) -> None:
        """Send progress, or keep the latest for a moment."""
        with self._lock:
            self._latest = progress
            wait = self._reported + INTERVAL - time.monotonic()
            if wait > 0:
                if self._later is None:
                    self._later = threading.Timer(wait, self.flush)
                    self._later.daemon = True
                    self._later.start()
                return
        self.flush()

    def flush(self) -> None:
        """Send the latest progress, if it was not sent yet."""
        with self._lock:
            latest, self._latest = self._latest, None
            timer, self._later = self._later, None
            self._reported = time.monotonic()
        if timer is not None:
            timer.cancel()
        if latest is not None:
            self._line.send(Reported(latest))


def run(task: Task) -> Success | Failed | RetryAt:
    """Call the handler: how it ended, as data."""
    outcome: AnyOutcome | None
    try:
        if task.memory is not None:
            confine.limit_memory(task.memory)
        outcome = of_value(task.job, call(task), task.largest, random.random)
    except BaseException as error:  # noqa: BLE001 - SystemExit too: it is the task's end alone
        if task.memory is not None:
            confine.limit_memory(None)  # saying what happened takes some
            if isinstance(error, MemoryError):
                error = limited(error, task.memory)
        outcome = of_error(task.job, error, random.random)
        task.error = error
    if task.memory is not None:
        confine.limit_memory(None)
    task.flush()
    if not isinstance(outcome, Success | Failed | RetryAt):
        raise TypeError(f"a task that was told nothing ended as {outcome!r}")
    return outcome


def limited(error: MemoryError, most: int) -> MemoryError:
    """The same, with the limit in its message."""
    said = f"{error}; " if str(error) else ""
    text = f"{said}max_memory is {most >> 20} MiB"
    return MemoryError(text).with_traceback(error.__traceback__)


def call(task: Task) -> Any:
    """The handler's result. Raises what it raises."""
    wanted = task.job.delivery.task
    try:
        arguments = task.spec.arguments(wanted.payload, wanted.content_type)
    except MemoryError:
        raise  # max_memory is at fault, not the payload
    except Exception as error:
        raise BadArguments(str(error)) from error
    context = task.context if task.spec.takes_context else None
    value = task.spec.call(context, arguments)
    if not task.spec.is_async:
        return value
    task.runner = asyncio.Runner()
    return task.runner.run(_awaited(value))


async def _awaited(value: Awaitable[Any]) -> Any:
    return await value


def load(setup: Setup) -> XQueue:
    """The app, with all its types. Raises whatever its modules raise, or ConfigError."""
    if setup.version != VERSION:
        raise ConfigError(f"worker and child differ: protocol {setup.version} and {VERSION}")
    sys.argv[:] = setup.argv
    if setup.logging is not None:
        import_module("xqueue_core.cli.logs").configure_logging(setup.logging)
    app = find_app(setup.app)
    for module in setup.modules:
        imported(module)
    for name in setup.types:
        spec = app.handlers.get(name)
        if spec is None or spec.kind is not Kind.PROCESS:
            raise ConfigError(
                f"a child process imports {setup.app!r} and finds no isolated type {name!r}: "
                f"declare it where importing that module declares it, too, not in a function "
                f"that is called later or below `if __name__ == '__main__'`"
            )
    if setup.flags:
        from xqueue_core.settings import load_settings

        app._settings = load_settings(app._overrides, cli_overrides=setup.flags)
    app._backends = Reachable(app._backends._load)
    return app


class Reachable(BackendCache):
    """Opens no broker that lives in the worker's process: here it would be another, empty one."""

    def _loaded(self, name: str) -> Any:
        backend = super()._loaded(name)
        try:
            shared = backend.capabilities(backend.Settings()).shared
        except Exception:  # noqa: BLE001 - it needs to be told more, such as where its server is
            shared = True
        if not shared:
            raise Unsupported(
                f"{name}:// lives in the worker's process alone: a child process cannot submit "
                f"to it, or look into it; use a broker that processes share, such as sqlite://"
            )
        return backend


def flush() -> None:
    """Let what the handler has printed be seen before its end is."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):  # closed, or none
            continue
