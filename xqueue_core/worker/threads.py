"""Runs plain functions: each in one of a bounded number of daemon threads.

The standard library's pool joins its threads when the interpreter exits, so one handler that
never returns would keep a worker from ever ending.
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue

from xqueue_core.task import HandBack
from xqueue_core.worker.bodies import Bodies
from xqueue_core.worker.coroutines import Ended
from xqueue_core.worker.crossing import Pipe
from xqueue_core.worker.host import Host
from xqueue_core.worker.job import Job, Stage
from xqueue_core.worker.told import Runs

logger = logging.getLogger("xqueue.worker")

#: What becomes of a job for which the system gives no thread. It waits for 1 s, then 2, 4 ..., or
#: this worker would lease it again at once, for ever.
NO_THREAD = HandBack(unable="no thread")


class Threads:
    """A :class:`~xqueue_core.worker.runner.Runner` in a pool of threads."""

    def __init__(
        self, pool: Pool, host: Host, bodies: Bodies, ended: Ended, runs: Runs | None = None
    ) -> None:
        self._runs = runs
        self._pool = pool
        self._bodies = bodies
        self._ended = ended
        self._returned: Pipe[Job] = Pipe(host.soon)
        self._returned.connect(self._back)

    @property
    def free(self) -> int:
        """How many threads are free, or may be started."""
        return self._pool.free

    def start(self, job: Job) -> None:
        """Run it in a thread, in a context of its own."""
        if not self._pool.submit(partial(self._bodies.fresh().run, self._run, job)):
            job.outcome = NO_THREAD
            self._returned.send(job)

    def tell(self, job: Job) -> None:
        """Nothing: it may look, or may not."""

    def close(self) -> None:
        """Let threads end as they become idle; those that run are left to themselves."""
        self._pool.close()

    def _run(self, job: Job) -> None:
        """In a thread."""
        visit = None if self._runs is None else self._runs.enter(job)
        try:
            if job.stage is Stage.ENDED:
                raise asyncio.CancelledError
            job.outcome = self._bodies.returned(job, self._bodies.call(job))
        except BaseException as error:  # noqa: BLE001 - SystemExit too: the thread goes on
            job.outcome = self._bodies.raised(job, error)
            if visit is not None:
                visit.error = error
        if visit is not None:
            self._bodies.rest(job)
            visit.leave(job.outcome)
            # From here on it waits for the handlers' loop alone: plugins keep nothing.
            job.still = math.inf
        self._returned.send(job)

    def _back(self, jobs: list[Job]) -> None:
        for job in jobs:
            self._pool.finished()
            self._ended(job, job.outcome)


class Pool:
    """Runs calls in at most ``most`` threads, which start when they are needed.

    The caller sees to it that no more than ``most`` calls are under way, so none ever waits.
    A call must not raise.
    """

    def __init__(self, most: int, name: str = "xqueue-handler") -> None:
        self._most = most
        self._name = name
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._started = 0
        self._busy = 0  # changed on the handlers' loop only

    @property
    def free(self) -> int:
        """How many more calls may be under way."""
        return self._most - self._busy

    def submit(self, call: Callable[[], None]) -> bool:
        """Run a call in a thread; False if there is none, and none can be started.

        :meth:`finished` must be called when it has ended, or did not begin.
        """
        self._busy += 1
        if self._started < self._busy:
            self._start()
        if self._started < self._busy:
            return False  # behind another call its time-out would run out before it began
        self._calls.put(call)
        return True

    def _start(self) -> None:
        name = f"{self._name}-{self._started + 1}"
        try:
            threading.Thread(target=self._work, name=name, daemon=True).start()
        except RuntimeError as error:  # the system's limit
            logger.warning("no thread for a handler: %s", error)
        else:
            self._started += 1

    def finished(self) -> None:
        """One call has ended."""
        self._busy -= 1

    def close(self) -> None:
        """Let threads end as they become idle; those that run are left to themselves."""
        for _ in range(self._started):
            self._calls.put(None)

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            call()
