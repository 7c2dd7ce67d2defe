"""``inline://``: a submit runs the handler before it returns, in the process that submits.

There is no queue to speak of. Tasks are kept in a store in memory, so that handles answer as they
do elsewhere; whatever is put there is leased in the same step and given to an executor like a
worker's, on the event loop that submits. An attempt that fails is followed by the next at once.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import msgspec

from xqueue_core.abc import Faces, Role, TaskQueue
from xqueue_core.atonce import at_once
from xqueue_core.calls import (
    Ability,
    Accepted,
    AnyCommand,
    Beat,
    BeatReply,
    Declare,
    Delivery,
    Did,
    Held,
    Leased,
    Lines,
    Put,
    Settle,
    Settled,
    Verdict,
    Want,
)
from xqueue_core.connect import NO_BROKER, Connection, connect
from xqueue_core.errors import ConfigError, Refused, Unsupported
from xqueue_core.handlers import Kind
from xqueue_core.ids import Uuid7
from xqueue_core.task import AnyOutcome, Failed, Failure, HandBack, RetryAt, Task
from xqueue_core.worker.crossing import Crossing, Outward
from xqueue_core.worker.executor import Executor
from xqueue_core.worker.host import current_host
from xqueue_core.worker.job import Job
from xqueue_core.worker.options import WorkerOptions
from xqueue_core.worker.tools import Term, Tools

if TYPE_CHECKING:
    from xqueue_core.app import XQueue
    from xqueue_core.worker.host import Host

#: What it lacks: nothing waits here, so nothing can wait for a time, for a permit, or be canceled.
LACKING = frozenset({Ability.CANCEL, Ability.DELAY, Ability.LIMITS})
#: The store behind it.
STORE = "memory://"
#: Handlers that submit wait for what they submit: so deep they may be nested. Above the depth
#: that Python's own stack allows, and bounded by the system for threads.
NESTED, THREADS = 100_000, 1_000
#: How long the worker that stands in the store is believed to live (seconds): a century.
LEASE = 3.2e9


@asynccontextmanager
async def connect_inline(app: XQueue, role: Role | None) -> AsyncIterator[Connection]:
    """A connection of this event loop, on which handlers run; the app's lifespan is around it.

    Raises:
        ConfigError: it is opened for a worker: nothing would ever be there for it.
        What the app's lifespan raises.
    """
    if role is Role.WORKER:
        raise ConfigError(NO_BROKER)
    others = {"semaphore_url": None, "notifier_url": None, "view_url": None}
    settings = app.settings()
    store = settings.model_copy(update={"url": STORE, **others})
    enter: Any = nullcontext() if app.lifespan is None else app.lifespan(app)
    async with connect(store, app._backends) as inner, enter as state:
        capabilities = msgspec.structs.replace(
            inner.capabilities,
            abilities=inner.capabilities.abilities - LACKING,
            max_delay=0.0,
            shared=False,
            durable=False,
        )
        queue = InlineQueue(app, inner.faces.queue, state)
        faces = Faces(queue, inner.faces.view, None, inner.faces.notifier)
        try:
            yield Connection(faces, capabilities, settings, queue.ended)
        finally:
            await queue.close()


class InlineQueue(TaskQueue):
    """Runs what is put, on the event loop that it was made on.

    Args:
        inner: the store's queue, which never waits; other event loops share it.
        state: what the app's lifespan has yielded.
    """

    def __init__(self, app: XQueue, inner: TaskQueue, state: Any) -> None:
        self._app = app
        self._inner = inner
        self._calls = 0
        self._ends: dict[str, asyncio.Future[None]] = {}
        self._worker = f"inline~{Uuid7()()}"
        self._host: Host = current_host()
        crossing = Crossing(self._host.soon, self._host.soon)
        crossing.outward.connect(self._returned)
        self._send = crossing.inward.send
        self._executor = self._made(crossing, state)
        at_once(inner.extend(Beat(worker=self._worker, lease=LEASE, heartbeat=LEASE), []))

    def _made(self, crossing: Crossing, state: Any) -> Executor:
        options = WorkerOptions.of(
            self._app.settings(), concurrency=NESTED, threads=THREADS, prefetch=0
        )
        tools, term = Tools(), Term(LEASE)
        term.acknowledged(tools.clock())
        return Executor(
            crossing,
            options,
            tools,
            term,
            self._host,
            worker=self._worker,
            app=self._app,
            state=state,
            base=contextvars.copy_context(),
        )

    def _alone(self) -> AbstractContextManager[Any]:
        """Within, no other thread uses the store: what was put is leased by who put it."""
        return self._app._backends.locked()

    # -- running ---------------------------------------------------------------------------------

    async def put(self, tasks: Sequence[Task]) -> Sequence[Accepted]:
        """Accept tasks, and start them; :meth:`ended` waits for their end."""
        refused = {task.id: error for task in tasks if (error := self._refusal(task))}
        wanted = [task for task in tasks if task.id not in refused]
        with self._alone():
            taken = at_once(self._inner.put(wanted)) if wanted else ()
            new = sum(answer.put is Put.NEW for answer in taken)
            leased = self._lease({task.lane for task in wanted}, new)
        for delivery in leased:
            self._ends[delivery.task.id] = asyncio.get_running_loop().create_future()
            self._start(delivery)
        answers = iter(taken)
        return [
            Accepted(Put.REJECTED, error=refused[task.id]) if task.id in refused else next(answers)
            for task in tasks
        ]

    async def ended(self, ids: Collection[str]) -> None:
        """Wait until these have ended, as far as they were put here."""
        ends = [end for id in ids if (end := self._ends.get(id)) is not None]
        if ends:
            await asyncio.wait(ends)

    async def close(self) -> None:
        """Wait for what runs, and let go of its threads."""
        try:
            await self.ended(list(self._ends))
        finally:
            self._executor.close()

    def _refusal(self, task: Task) -> Unsupported | None:
        spec = self._app.handlers.get(task.type)
        what = ""
        if spec is None:
            what = f"{task.type!r} is not declared by this app, and nobody else can run it"
        elif spec.kind is Kind.PROCESS:
            what = f"isolation='process' of {task.type!r} needs a worker"
        elif spec.max_concurrency is not None and Ability.LIMITS not in self._app._accept_without:
            what = (
                f"max_concurrency of {task.type!r} needs LIMITS, which it lacks; to do without, "
                f"say so: XQueue(accept_without={{'LIMITS'}})"
            )
        return Unsupported(f"inline:// runs handlers in this process: {what}") if what else None

    def _lease(self, lanes: Collection[str], limit: int) -> list[Delivery]:
        """So many tasks of these lanes, or what there is."""
        found: list[Delivery] = []
        while limit > len(found):
            self._calls += 1
            left = limit - len(found)
            wants = [Want(lane, left) for lane in sorted(lanes)]
            more = at_once(self._inner.lease(wants, left, self._calls, self._worker, 0.0))
            if not more.deliveries:
                break
            found += more.deliveries
        return found

    def _start(self, delivery: Delivery) -> None:
        self._send(Job(delivery, self._app.handlers[delivery.task.type]))

    def _returned(self, batch: list[Outward]) -> None:
        for item in batch:
            if isinstance(item, Job):
                self._settle(item)

    def _settle(self, job: Job) -> None:
        task = job.delivery.task
        settle = Settle(task.id, job.delivery.token, _at_once(job.outcome))
        with self._alone():
            at_once(self._inner.settle([settle]))
            again = self._lease([task.lane], 1)
        for delivery in again:
            self._start(delivery)
        if not again:
            self._ends.pop(task.id).set_result(None)

    # -- what is left of a queue -----------------------------------------------------------------

    async def control(self, commands: Sequence[AnyCommand]) -> Sequence[Verdict]:
        """Types may be declared; else there is nothing to be commanded."""
        return [
            at_once(self._inner.control([one]))[0]
            if isinstance(one, Declare)
            else Verdict(Did.UNSUPPORTED)
            for one in commands
        ]

    async def maintain(self, budget: float) -> float:
        """As the store."""
        return await self._inner.maintain(budget)

    async def parked(self, lanes: Sequence[str], after: str | None, limit: int) -> Lines:
        """Nothing waits."""
        return Lines([])

    async def lease(
        self, wants: Sequence[Want], limit: int, call: int, worker: str, wait: float
    ) -> Leased:
        """Refused, as the rest of a worker's part."""
        raise Refused(NO_BROKER)

    async def settle(self, outcomes: Sequence[Settle]) -> Sequence[Settled]:
        """Refused."""
        raise Refused(NO_BROKER)

    async def extend(self, beat: Beat, held: Sequence[Held]) -> BeatReply:
        """Refused."""
        raise Refused(NO_BROKER)


def _at_once(outcome: AnyOutcome | None) -> AnyOutcome:
    """The outcome, with no time between two attempts."""
    if isinstance(outcome, RetryAt):
        return msgspec.structs.replace(outcome, delay=0.0)
    if outcome is None or isinstance(outcome, HandBack):  # there is nobody to hand it back to
        why = getattr(outcome, "unable", "") or "its event loop has ended"
        return Failed(Failure("inline", message=f"it could not be run: {why}"))
    return outcome
