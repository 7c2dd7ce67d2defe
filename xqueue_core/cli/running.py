"""One worker process: handlers and engine have a thread each, this one receives signals."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

from xqueue_core.errors import ConfigError, XQueueError
from xqueue_core.worker import Exit, Worker

if TYPE_CHECKING:
    from xqueue_core.app import XQueue

logger = logging.getLogger("xqueue.worker")

#: Exit code of a process that must be replaced (EX_TEMPFAIL).
RECYCLE = 75
#: Seconds that the handlers' loop has to end after the engine has.
LAST = 2.0
#: Seconds beyond the grace time after which an orphan ends whatever happens.
ORPHAN = 15.0
#: New objects after which the garbage collector looks at them.
YOUNG = 5_000
#: Longest time until the main thread sees a signal (seconds).
LOOK_EVERY = 0.25
#: Seconds within which a further signal is the same wish.
SAME = 0.2

SIGNALS = (signal.SIGTERM, signal.SIGINT)


def run(app: XQueue, *, name: str | None, burst: bool, supervised: bool) -> int:
    """Run a worker in this process until it ends; answers the exit code.

    Does not return if code that cannot be stopped is left: the process then ends, or, without a
    supervisor and if it must be replaced, becomes a new one.
    """
    loop_factory = loops(app.settings().loop)
    worker = Worker(app, name=name, burst=burst, recycle=True, loop_factory=loop_factory)
    handlers = _Handlers(worker, loop_factory)

    stop = stopper(worker.stop, time.monotonic)
    before = {one: signal.signal(one, stop) for one in SIGNALS}
    try:
        if supervised:
            _watch_parent(worker, app.settings().grace)
        with calmer_collector():
            handlers.start()
            # The system may hand a signal to another thread; this one, which alone runs the
            # handlers of signals, is then not woken. So it looks by itself, often enough to stop
            # within 1 s.
            while not worker.ended.wait(LOOK_EVERY):
                pass
            # Code whose deliveries were given up must not run on beside those who get them next.
        if not worker.abandoned:
            handlers.join(LAST)
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
    return _ended(worker, handlers, supervised)


def stopper(
    stop: Callable[[], None], clock: Callable[[], float]
) -> Callable[[int, FrameType | None], None]:
    """A signal handler that stops. Senders such as ``timeout`` signal a process and its group:
    two signals in quick succession are one wish."""
    last = -SAME

    def handle(signum: int, _: FrameType | None) -> None:
        nonlocal last
        now = clock()
        if now - last >= SAME:
            last = now
            logger.info("received %s", signal.Signals(signum).name)
            stop()

    return handle


def loops(name: str) -> Callable[[], asyncio.AbstractEventLoop]:
    """What makes an event loop of this kind. Raises ConfigError if it is not installed."""
    if name == "asyncio":
        return asyncio.new_event_loop
    try:
        import uvloop
    except ImportError as error:
        raise ConfigError("uvloop is missing: pip install 'xqueue-core[uvloop]'") from error
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


@contextmanager
def calmer_collector() -> Iterator[None]:
    """Within, the garbage collector does less, as befits a process of our own.

    What was loaded so far lives as long as the process, so it is looked at no more. And a batch
    of tasks makes more objects than Python's threshold, without a cycle among them.
    """
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    if before[0]:  # 0: the app has switched it off
        gc.set_threshold(max(before[0], YOUNG), *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


class _Handlers(threading.Thread):
    """The thread of the loop on which handlers run."""

    def __init__(
        self, worker: Worker, loop_factory: Callable[[], asyncio.AbstractEventLoop]
    ) -> None:
        super().__init__(name="xqueue-handlers", daemon=True)
        self._worker = worker
        self._loop_factory = loop_factory
        self.error: BaseException | None = None

    def run(self) -> None:
        """Run the worker."""
        try:
            with asyncio.Runner(loop_factory=self._loop_factory) as runner:
                try:
                    runner.run(self._worker.run())
                except (SystemExit, KeyboardInterrupt) as error:
                    _crash(error)
        except BaseException as error:  # noqa: BLE001 - the main thread tells it
            self.error = error
        finally:
            self._worker.ended.set()


def _crash(error: BaseException) -> None:
    """Die: a handler's own task ended the loop, as ``sys.exit()`` in it does.

    At once, without handing anything back: the deliveries are lost, and counted as lost, else
    the task that does this would be tried for ever.
    """
    logger.critical("a handler has ended the event loop; this process dies", exc_info=error)
    _flush()
    os._exit(1)


def _ended(worker: Worker, handlers: _Handlers, supervised: bool) -> int:
    stuck = handlers.is_alive() or worker.exit is Exit.RECYCLE
    error = worker.error or handlers.error
    if isinstance(error, XQueueError) and not stuck:
        raise error
    if error is not None:
        logger.critical("the worker has failed", exc_info=error)
    if worker.exit is Exit.RECYCLE and not supervised:
        logger.warning("this process replaces itself")
        _flush()
        os.execv(sys.executable, [sys.executable, "-m", "xqueue_core.cli", *sys.argv[1:]])  # noqa: S606
    code = _code(worker, error)
    if stuck or _threads_left():
        # A thread that never ends would keep the interpreter from ever exiting.
        _flush()
        os._exit(code)
    return code


def _code(worker: Worker, error: BaseException | None) -> int:
    """0 only if the engine ended as it should, and the handlers' loop with it."""
    if worker.exit is Exit.RECYCLE:
        return RECYCLE
    return 0 if error is None and worker.exit is not None else 1


def _threads_left() -> bool:
    main = threading.main_thread()
    return any(one is not main and not one.daemon for one in threading.enumerate())


def _flush() -> None:
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()


def _watch_parent(worker: Worker, grace: float) -> None:
    """End with the supervisor, however it ends: its end of our standard input closes then."""

    def watch() -> None:
        while os.read(0, 4096):
            pass
        logger.warning("the supervisor is gone: stopping")
        worker.stop()
        if not worker.ended.wait(grace + ORPHAN):
            os._exit(1)

    threading.Thread(target=watch, name="xqueue-parent", daemon=True).start()
