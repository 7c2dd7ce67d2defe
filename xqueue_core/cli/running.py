"""One worker process: handlers and engine have a thread each, this one receives signals."""

from __future__ import annotations

import gc
import logging
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from xqueue_core.cli.awaiting import OPTION, find_broker
from xqueue_core.cli.exits import NoBroker, code_of
from xqueue_core.cli.loops import loops, run_on
from xqueue_core.cli.signals import flush, heeded, leave
from xqueue_core.cli.words import Mouth, Word
from xqueue_core.errors import Unavailable, Unknown, XQueueError
from xqueue_core.worker import Exit, Worker
from xqueue_core.worker.lifespan import LAST_WORDS

if TYPE_CHECKING:
    from xqueue_core.app import XQueue
    from xqueue_core.cli.parent import Parent

logger = logging.getLogger("xqueue.worker")

#: Seconds that the handlers' loop has to end after the engine has.
LAST = 2.0
#: New objects after which the garbage collector looks at them.
YOUNG = 5_000
#: Longest time until the main thread sees a signal (seconds).
LOOK_EVERY = 0.25


def run(
    app: XQueue,
    *,
    name: str | None,
    burst: bool,
    longest: float | None = None,
    parent: Parent | None = None,
    mouth: Mouth,
) -> int:
    """Run a worker in this process until it ends; answers the exit code.

    ``longest`` is how long it waits for a broker that does not answer at the start.
    ``parent`` is the watch on its supervisor, if it has one, which is told by ``mouth``.

    Does not return if code that cannot be stopped is left: the process then ends, or, without a
    supervisor and if it must be replaced, becomes a new one.

    Raises NoBroker if none answered at the start.
    """
    loop = app.settings().loop
    busy, make = mouth.busy, loops(loop)
    worker = Worker(app, name=name, burst=burst, recycle=True, busy=busy, loop_factory=make)
    if longest is not None:
        find_broker(app, longest)  # before the app's lifespan is entered in vain
    handlers = _Handlers(worker, loop)

    with heeded(handlers.stop):
        if parent is not None:
            parent.entrust(worker)
        with calmer_collector():
            handlers.start()
            # The system may hand a signal to another thread; this one, which alone runs the
            # handlers of signals, is then not woken. So it looks by itself, often enough to stop
            # within 1 s.
            while not worker.ended.wait(LOOK_EVERY):
                if handlers.overdue:
                    _abandon(mouth)
            # Code whose deliveries were given up must not run on beside those who get them next.
        if not worker.abandoned:
            handlers.join(LAST + worker.leaving)
    if isinstance(worker.error, Unavailable | Unknown) and worker._life is None:
        hint = f" ({OPTION} waits for it)" if parent is None and longest is None else ""
        worker.error = NoBroker(f"{worker.error}{hint}")
    return _ended(worker, handlers, None if parent is None else mouth)


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

    def __init__(self, worker: Worker, loop: str) -> None:
        super().__init__(name="xqueue-handlers", daemon=True)
        self._worker = worker
        self._loop = loop
        self.error: BaseException | None = None
        self.asked = 0  #: signals that have asked it to stop
        self._due = float("inf")

    def stop(self) -> None:
        """A signal asks to stop."""
        if not self.asked:
            self._due = time.monotonic() + self._worker.options.grace + LAST_WORDS
        self.asked += 1
        self._worker.stop()

    @property
    def overdue(self) -> bool:
        """It was told to stop twice, or long ago, and its lifespan does not come to an end."""
        late = self.asked > 1 or time.monotonic() >= self._due
        return late and not self._worker.begun

    def run(self) -> None:
        """Run the worker."""
        try:
            run_on(self._loop, self._worker.run, _crash)
        except BaseException as error:  # noqa: BLE001 - the main thread tells it
            self.error = error
        finally:
            self._worker.ended.set()


def _abandon(mouth: Mouth) -> None:
    """End this process at once: nothing was leased."""
    logger.warning("the app's lifespan does not end; this process ends without it")
    mouth.last(Word.STOPPED)
    leave()


def _crash(error: BaseException) -> None:
    """Die: a handler's own task ended the loop, as ``sys.exit()`` in it does.

    At once, without handing anything back: the deliveries are lost, and counted as lost, else
    the task that does this would be tried for ever.
    """
    logger.critical("a handler has ended the event loop; this process dies", exc_info=error)
    flush()
    os._exit(1)


def _ended(worker: Worker, handlers: _Handlers, mouth: Mouth | None) -> int:
    stuck = worker.abandoned or handlers.is_alive() or worker.exit is Exit.RECYCLE
    error = worker.error or handlers.error
    if error is None and worker.leaving and not worker.abandoned:
        error = TimeoutError("the app's lifespan did not end")
    if isinstance(error, XQueueError) and not stuck:
        if worker.lingers:
            logger.critical("the worker has failed: %s", error)
            leave(code_of(error))
        raise error
    if error is not None:
        logger.critical("the worker has failed", exc_info=error)
    if _replaced(worker, handlers) and mouth is None:
        logger.warning("this process replaces itself")
        worker.end_children(LAST)  # else they would be zombies of the new one
        flush()
        os.execv(sys.executable, [sys.executable, "-m", "xqueue_core.cli", *sys.argv[1:]])  # noqa: S606
    word = _word(worker, handlers, error)
    code = 1 if word is None else word.code
    if word is not None and mouth is not None:
        mouth.last(word)
    if stuck or worker.lingers or _threads_left():
        # A thread that never ends would keep the interpreter from ever exiting.
        flush()
        os._exit(code)
    return code


def _word(worker: Worker, handlers: _Handlers, error: BaseException | None) -> Word | None:
    """Why it ended; None if not as it should, the handlers' loop included."""
    if _replaced(worker, handlers):
        return Word.RECYCLE
    if error is not None or worker.exit is None:
        return None
    return {Exit.ORDERED: Word.ORDERED, Exit.EMPTY: Word.EMPTY}.get(worker.exit, Word.STOPPED)


def _replaced(worker: Worker, handlers: _Handlers) -> bool:
    """It ends to be replaced, and was not asked to end since."""
    return worker.exit is Exit.RECYCLE and not handlers.asked


def _threads_left() -> bool:
    main = threading.main_thread()
    return any(one is not main and not one.daemon for one in threading.enumerate())
