"""The runner of isolated handlers, as the executor sees it."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from xqueue_core.errors import ConfigError
from xqueue_core.handlers import HandlerSpec, Kind
from xqueue_core.task import AnyOutcome, HandBack, Progress
from xqueue_core.worker import report
from xqueue_core.worker.crossing import Pipe
from xqueue_core.worker.isolation.home import home_of
from xqueue_core.worker.isolation.member import Came, Child, Gone, Health, Note, Room
from xqueue_core.worker.isolation.pool import Pool
from xqueue_core.worker.isolation.post import Post
from xqueue_core.worker.isolation.saying import say
from xqueue_core.worker.isolation.verdict import Deaths, End, died, outcome_of
from xqueue_core.worker.isolation.wire import VERSION, Run, Setup, frame
from xqueue_core.worker.job import Job
from xqueue_core.worker.link import deadline
from xqueue_core.worker.serving import served

if TYPE_CHECKING:
    from xqueue_core.app import XQueue
    from xqueue_core.worker.host import Host
    from xqueue_core.worker.options import WorkerOptions
    from xqueue_core.worker.tools import Tools

logger = logging.getLogger("xqueue.worker")

#: Seconds between two looks for the first child.
LOOK = 0.01
#: Bounds of the wait before children are started anew whose thread has ended (seconds); it doubles.
FIRST_WAIT = 0.5
LONGEST_WAIT = 30.0
#: Bytes of a MiB.
MIB = 1 << 20


class Children:
    """A :class:`~xqueue_core.worker.runner.Runner` in child processes.

    Making one starts its thread and the first child.

    Args:
        ended: takes each job that has ended, and its outcome.
        worker: the worker's id.
        came: takes each job whose handler has returned, and when, by the steady clock.
        progress: takes a job's progress; from any thread.
        look: called when there is more room.
        good: True while a job may begin, by its lease and permits; from any thread.

    Raises:
        ConfigError: a child would not find the app.
    """

    def __init__(
        self,
        options: WorkerOptions,
        tools: Tools,
        host: Host,
        ended: Callable[[Job, AnyOutcome | None], None],
        app: XQueue,
        *,
        worker: str,
        came: Callable[[Job, float], None],
        progress: Callable[[Job, Progress], None],
        look: Callable[[], None],
        good: Callable[[Job], bool] = lambda job: True,
    ) -> None:
        self._clock = tools.clock
        self._random = tools.random.random
        self._ended = ended
        self._came = came
        self._progress = progress
        self._look = look
        self._most = options.children
        self._busy = 0
        self._ready = 0  # children that wait for a task
        self._deaths = Deaths()
        self._fault = ""
        self._known = threading.Event()  # whether children can be started
        self._notes: Pipe[Note] = Pipe(host.soon)
        self._notes.connect(self._noted)
        handlers = served(app.handlers, options).values()
        specs = [spec for spec in handlers if spec.kind is Kind.PROCESS]

        def pool(spawn: Callable[[], Child]) -> Pool:
            most, per_child = options.children, options.tasks_per_child
            clock, tell = tools.clock, self._tell
            made = Pool(most, per_child, spawn, clock, tell, self._reported, good)
            made.fault = self._fault  # of the one before: tasks go back until a child is ready
            return made

        setup = _setup(options, app, specs, worker)
        self._later = host.later
        self._lock = threading.Lock()  # around closing, and beginning anew
        self._closed = False
        self._gone = 0  # how often children could not be served any more, lately
        self._began = tools.clock()
        self._make: Callable[[], Post] = lambda: Post(setup, pool)
        self._post = self._make()
        self._post.start()

    async def ready(self, stopped: Callable[[], bool]) -> None:
        """Wait until the first child is ready, or it is ``stopped``. On any asyncio loop.

        Raises:
            ConfigError: none could be started, or none finds the app as it is here.
        """
        while not self._known.is_set() and not stopped():  # noqa: ASYNC110 - set by a thread
            await asyncio.sleep(LOOK)
        if self._fault:
            raise ConfigError(f"isolation='process': a child process {self._fault}")

    @property
    def free(self) -> int:
        """How many children wait for a task; while none can be started, tasks go back."""
        if self._fault:
            return self._most
        return min(self._ready, self._most - self._busy)

    def start(self, job: Job) -> None:
        """Send it to a child."""
        self._busy += 1
        self._ready -= 1
        task, memory = job.delivery.task, job.spec.max_memory
        left = None if task.process_timeout is None else max(0.0, deadline(job) - self._clock())
        most = None if memory is None else memory * MIB
        try:
            # Here, not in the children's thread: what cannot be sent is this job's affair alone.
            order = frame(Run(job.delivery, left, most, job.carried or {}))
        except Exception as error:  # noqa: BLE001 - somebody's code has written into the task
            text = "%s cannot be sent to a child process, and is handed back: %s"
            say(logging.ERROR, text, job.id, error, error=error)
            self._notes.send(End(job, sent=False, fault=f"cannot be sent the task: {error}"))
            return
        self._post.call(lambda pool: pool.start(job, order))

    def tell(self, job: Job) -> None:
        """Kill its child."""
        why = job.told
        self._post.call(lambda pool: pool.kill(job, why))

    def close(self) -> None:
        """End all children, soon."""
        with self._lock:
            self._closed = True
        self._post.call(Pool.close)

    def end(self, seconds: float) -> None:
        """End all children, and wait so long at most until they are reaped. From any thread."""
        self.close()
        self._post.join(seconds)

    # -- what the pool tells -------------------------------------------------------------------

    def _tell(self, note: Note) -> None:
        """In the pool's thread."""
        if isinstance(note, Health):
            self._fault = note.fault
            self._known.set()
        self._notes.send(note)

    def _reported(self, job: Job, progress: Progress) -> None:
        """In the pool's thread."""
        with suppress(RuntimeError):  # the handlers' loop has ended
            self._progress(job, progress)

    def _noted(self, notes: list[Note]) -> None:
        more = False
        for note in notes:
            if isinstance(note, End):
                self._over(note)
            elif isinstance(note, Came):
                self._came(note.job, note.at)
            elif isinstance(note, Room):
                self._ready += note.more
                more = more or note.more > 0
            elif isinstance(note, Gone):
                self._renew_later()
            elif note.fault:
                logger.error("isolated tasks are handed back: a child process %s", note.fault)
                more = True
        if more:
            self._look()

    def _renew_later(self) -> None:
        """Begin anew, but not in a hot loop: whatever has happened may happen again."""
        if self._closed:
            return
        if self._clock() - self._began > 2 * LONGEST_WAIT:
            self._gone = 0
        wait = min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** min(self._gone, 16))
        self._gone += 1
        say(logging.ERROR, "child processes are started anew in %g s", wait)
        self._later(wait, self._renew)

    def _renew(self) -> None:
        with self._lock:
            if self._closed:
                return
            self._began = self._clock()
            try:
                post = self._make()
                post.start()
            except (OSError, RuntimeError) as error:  # no descriptor, or no thread
                say(logging.ERROR, "child processes cannot be served: %s", error)
            else:
                self._post = post
                return
        self._renew_later()

    def _over(self, end: End) -> None:
        self._busy -= 1
        if not end.sent:
            self._ready += 1  # it was given to none
        if not end.sent and end.fault:
            outcome: AnyOutcome | None = HandBack(unable="isolation", reason=end.fault[:200])
        else:
            deaths = self._deaths.count(end)
            outcome = outcome_of(end, self._random, deaths)
            report.failure(end.job, outcome)
            if deaths and isinstance(outcome, HandBack):
                say(logging.WARNING, "%s is handed back: %s", end.job.id, died(end))
        self._ended(end.job, outcome)


def _setup(options: WorkerOptions, app: XQueue, specs: list[HandlerSpec], worker: str) -> Setup:
    home = home_of(app, specs)
    settings = app.settings()
    flags = {
        path[0]: one.value
        for path, one in settings._found.items()
        if one.origin == "command line" and len(path) == 1
    }
    return Setup(
        version=VERSION,
        app=home.app,
        modules=home.modules,
        types=[spec.name for spec in specs],
        argv=list(sys.argv),
        worker=worker,
        flags=flags,
        logging=settings.log_level if app._place else None,
        tasks=options.tasks_per_child,
        largest=options.max_result,
    )
