"""Middleware around handlers that run elsewhere: in a thread, or in a child process.

The middleware is a coroutine on the handlers' loop; while the handler runs, it waits for it,
whatever happens: a job ends when both have.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from xqueue_core.around import Middleware
from xqueue_core.context import Context
from xqueue_core.task import AnyOutcome, Failed, RetryAt, Success, TimedOut
from xqueue_core.worker.bodies import Bodies, FailedElsewhere, StoppedElsewhere
from xqueue_core.worker.coroutines import Begins, Coroutines, Ended
from xqueue_core.worker.crossing import Pipe
from xqueue_core.worker.host import Host, Latch
from xqueue_core.worker.job import Job, Told
from xqueue_core.worker.layers import Layers
from xqueue_core.worker.outcomes import against
from xqueue_core.worker.runner import Runner
from xqueue_core.worker.threads import NO_THREAD, Pool
from xqueue_core.worker.told import Runs

#: Seconds that middleware has to itself after the handler, if the job was told to end in between.
MOMENT = 0.5


@dataclass(slots=True, eq=False)
class Visit:
    """One run of a handler elsewhere, for the coroutine that waits for it."""

    job: Job
    context: Context
    over: Latch
    value: Any = None
    error: BaseException | None = None


class Place(Protocol):
    """Where handlers run."""

    @property
    def free(self) -> int:
        """How many more may be there."""

    def begin(self, visit: Visit) -> None:
        """Run the handler; then fill in how it ended, and set ``over``."""

    def tell(self, job: Job) -> None:
        """``job.told`` has changed."""

    def close(self) -> None:
        """The worker has ended."""


class Wrapped:
    """A :class:`~xqueue_core.worker.runner.Runner` with middleware around another place.

    Args:
        resume: lets the time of a job go on that stood still since its handler returned.
    """

    def __init__(
        self,
        place: Place,
        middleware: Sequence[Middleware],
        host: Host,
        bodies: Bodies,
        begins: Begins,
        ended: Ended,
        resume: Callable[[Job], None],
        runs: Runs | None = None,
    ) -> None:
        self._place = place
        self._resume = resume
        self._host = host
        self._ended = ended
        self._visits: dict[Job, Visit] = {}
        self._outside = 0  # jobs that have a place for their handlers, and do not use it
        layers = Layers(middleware, host, bodies, self._visit)
        self._coroutines = Coroutines(0, host, bodies, begins, self._ran, layers.enter, runs)

    @property
    def free(self) -> int:
        """How many more jobs may be started: each may need its place at any time."""
        return self._place.free - self._outside

    def start(self, job: Job) -> None:
        """Begin with the middleware."""
        self._outside += 1
        job.against = Told.NOTHING
        self._coroutines.start(job)

    def tell(self, job: Job) -> None:
        """Tell the handler if it runs, else the middleware."""
        if job in self._visits:
            self._place.tell(job)
        else:
            self._coroutines.tell(job)

    def close(self) -> None:
        """The worker has ended."""
        self._place.close()

    async def _visit(self, job: Job, context: Context) -> Any:
        """What ``call_next`` does inmost: the handler's result."""
        if job in self._visits:
            raise RuntimeError("call_next was called while it runs: the handler is there once")
        visit = self._visits[job] = Visit(job, context, self._host.latch())
        self._outside -= 1
        told, noticed = job.told, job.noticed
        self._place.begin(visit)
        try:
            await visit.over.held()
        finally:
            del self._visits[job]
            self._outside += 1
            self._resume(job)
            heard, job.heard = job.heard or job.told, None
            if heard is not told:
                job.against = against(heard, job.noticed)
            if job.told is Told.LOST or (heard is not told and job.noticed == noticed):
                # What the handler was told, and did not look for, is told to the middleware.
                _cancel(job)
            elif heard is not told or job.told is not told:
                # The handler has decided upon it, or had returned: let that come through where
                # nothing else is done.
                self._host.later(MOMENT, partial(_cancel, job))
        if visit.error is not None:
            raise visit.error
        return visit.value

    def _ran(self, job: Job, outcome: AnyOutcome | None) -> None:
        self._outside -= 1
        self._ended(job, outcome)


def _cancel(job: Job) -> None:
    if job.task is not None:  # else it has ended
        job.task.cancel()


class InThread:
    """Plain functions, in a pool's threads; their contextvars are the middleware's."""

    def __init__(self, pool: Pool, host: Host, bodies: Bodies) -> None:
        self._pool = pool
        self._bodies = bodies
        self._returned: Pipe[Visit] = Pipe(host.soon)
        self._returned.connect(self._back)

    @property
    def free(self) -> int:
        """How many threads are free, or may be started."""
        return self._pool.free

    def begin(self, visit: Visit) -> None:
        """Run it in a thread."""
        if not self._pool.submit(partial(contextvars.copy_context().run, self._run, visit)):
            visit.error = StoppedElsewhere(NO_THREAD)
            self._returned.send(visit)

    def tell(self, job: Job) -> None:
        """Nothing: it may look, or may not."""

    def close(self) -> None:
        """Let threads end as they become idle."""
        self._pool.close()

    def _run(self, visit: Visit) -> None:
        """In a thread."""
        try:
            visit.value = self._bodies.call(visit.job, visit.context)
        except BaseException as error:  # noqa: BLE001 - it is raised where it is waited for
            visit.error = error
        self._bodies.rest(visit.job)
        self._returned.send(visit)

    def _back(self, visits: list[Visit]) -> None:
        for visit in visits:
            self._pool.finished()
            visit.over.set()


class InChild:
    """Isolated handlers, by a runner that tells their outcomes instead of their results.

    Args:
        make: makes that runner, given what takes each job and its outcome, and what is called
            when there is more room.
        look: called when there is more room.
    """

    def __init__(
        self,
        make: Callable[[Ended, Callable[[], None]], Runner],
        look: Callable[[], None],
    ) -> None:
        self._visits: dict[Job, Visit] = {}
        self._waiting: deque[Job] = deque()  # a child that was ready may have died meanwhile
        self._look = look
        self._children = make(self._back, self._more)

    @property
    def free(self) -> int:
        """How many children are free, or may be started."""
        return self._children.free

    def begin(self, visit: Visit) -> None:
        """Run it in a child, as soon as one is ready."""
        self._visits[visit.job] = visit
        self._waiting.append(visit.job)
        self._begin_waiting()

    def tell(self, job: Job) -> None:
        """Have the child end it."""
        if job in self._waiting:
            self._waiting.remove(job)
            visit = self._visits.pop(job)
            visit.error = asyncio.CancelledError("told to end before a child was ready")
            visit.over.set()
        else:
            self._children.tell(job)

    def close(self) -> None:
        """End the children."""
        self._children.close()

    def _more(self) -> None:
        self._begin_waiting()
        self._look()

    def _begin_waiting(self) -> None:
        while self._waiting and self._children.free > 0:
            self._children.start(self._waiting.popleft())

    def _back(self, job: Job, outcome: AnyOutcome | None) -> None:
        visit = self._visits.pop(job)
        if isinstance(outcome, Success):
            try:
                visit.value = job.spec.decode_result(outcome.result, outcome.content_type)
            except Exception as error:  # noqa: BLE001 - as above
                visit.error = error
        elif isinstance(outcome, Failed | RetryAt | TimedOut):
            visit.error = FailedElsewhere(job.id, outcome)
        else:
            visit.error = StoppedElsewhere(outcome)
        visit.over.set()
