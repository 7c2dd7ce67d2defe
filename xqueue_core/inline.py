"""``inline://``: a submit runs the handler before it returns, in the process that submits.

There is no queue to speak of. Tasks are kept in a store in memory, so that handles answer as they
do elsewhere; whatever is put there is leased in the same step and given to an executor like a
worker's, on the event loop that submits. An attempt that fails is followed by the next at once.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager, nullcontext
from functools import partial
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
    Locate,
    Put,
    Settle,
    Settled,
    Verdict,
    Want,
)
from xqueue_core.connect import NO_BROKER, Connection, connect
from xqueue_core.errors import ConfigError, Refused, Unsupported
from xqueue_core.handlers import Kind
from xqueue_core.hooks import Place
from xqueue_core.ids import Uuid7
from xqueue_core.plugged import Plugged, plugged
from xqueue_core.task import AnyOutcome, Failed, Failure, HandBack, RetryAt, Task
from xqueue_core.worker.crossing import Crossing, Outward
from xqueue_core.worker.executor import Executor
from xqueue_core.worker.hooked import ended
from xqueue_core.worker.host import current_host
from xqueue_core.worker.job import Job
from xqueue_core.worker.options import WorkerOptions
from xqueue_core.worker.told import Runs
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
logger = logging.getLogger("xqueue")

#: How long the worker that stands in the store is believed to live (seconds): a century.
LEASE = 3.2e9
#: Seconds before an attempt that failed is followed by the next.
BREATH = 0.001
#: How often it is looked, when all is closed, for what the event loop's end cut off (seconds).
LOOK = 0.05


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
    _warn_of_limits(app)
    store = settings.model_copy(update={"url": STORE, **others})
    enter: Any = nullcontext() if app.lifespan is None else app.lifespan(app)
    plugins = plugged(app, Place.CLIENT)
    async with AsyncExitStack() as stack:
        inner = await stack.enter_async_context(connect(store, app._backends))
        state = await stack.enter_async_context(enter)
        if plugins is not None:
            await stack.enter_async_context(plugins.open())
        capabilities = msgspec.structs.replace(
            inner.capabilities,
            abilities=inner.capabilities.abilities - LACKING,
            max_delay=0.0,
            shared=False,
            durable=False,
        )
        queue = InlineQueue(app, inner.faces.queue, state, plugins)
        faces = Faces(queue, inner.faces.view, None, inner.faces.notifier)
        try:
            yield Connection(faces, capabilities, settings, ended=queue.ended)
        finally:
            await queue.close()


class InlineQueue(TaskQueue):
    """Runs what is put, on the event loop that it was made on.

    Args:
        inner: the store's queue, which never waits; other event loops share it.
        state: what the app's lifespan has yielded.
        plugins: what is told of runs and ends.
    """

    def __init__(
        self, app: XQueue, inner: TaskQueue, state: Any, plugins: Plugged | None = None
    ) -> None:
        self._app = app
        self._plugins = plugins
        self._inner = inner
        self._calls = 0
        self._ends: dict[str, asyncio.Future[None]] = {}
        self._jobs: dict[str, Job] = {}
        self._closing = False
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
            # As the lifespan has left it: this is made in a task of the client's own.
            base=contextvars.copy_context(),
            runs=None if self._plugins is None else Runs(self._plugins, self._worker, tools.clock),
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
        """Wait for what runs, which is not tried again, and let go of its threads."""
        self._closing = True
        for job in self._jobs.values():
            job.last = True
        try:
            while self._ends:
                for job in [job for job in self._jobs.values() if _cut_off(job)]:
                    self._settle(job)
                if self._ends:
                    await asyncio.wait(list(self._ends.values()), timeout=LOOK)
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
        spec = self._app.handlers[delivery.task.type]
        job = Job(delivery, spec, at_once=True, last=self._closing)
        self._jobs[delivery.task.id] = job
        self._send(job)

    def _returned(self, batch: list[Outward]) -> None:
        for item in batch:
            if isinstance(item, Job):
                if isinstance(item.outcome, RetryAt):
                    # A loop that ends cancels the handler before it has this closed.
                    self._host.later(BREATH, partial(self._settle, item))
                else:
                    self._settle(item)

    def _settle(self, job: Job) -> None:
        task = job.delivery.task
        outcome = _at_once(job.outcome)
        if self._closing and isinstance(outcome, RetryAt):
            outcome = Failed(outcome.failure)
        settle = Settle(task.id, job.delivery.token, outcome)
        with self._alone():
            at_once(self._inner.settle([settle]))
            again = self._lease([task.lane], 1)
        if self._plugins is not None:
            self._plugins.ended(ended(job, settle.outcome, self._worker, 0.0))
        for delivery in again:
            self._start(delivery)
        if not again:
            del self._jobs[task.id]
            self._ends.pop(task.id).set_result(None)

    # -- what is left of a queue -----------------------------------------------------------------

    async def control(self, commands: Sequence[AnyCommand]) -> Sequence[Verdict]:
        """Types may be declared and located; else there is nothing to be commanded."""
        return [
            at_once(self._inner.control([one]))[0]
            if isinstance(one, Declare | Locate)
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


def _cut_off(job: Job) -> bool:
    """True if the event loop's end cancelled its coroutine before the first step."""
    return isinstance(job.task, asyncio.Task) and job.task.done() and not job.entered


def _warn_of_limits(app: XQueue) -> None:
    """Say at the beginning which types will be refused; the others are of use all the same."""
    if Ability.LIMITS in app._accept_without:
        return
    limited = [name for name, spec in app.handlers.items() if spec.max_concurrency is not None]
    if limited:
        text = (
            f"inline:// has no LIMITS, so it will refuse tasks with max_concurrency: "
            f"{', '.join(limited)}; XQueue(accept_without={{'LIMITS'}}) does without"
        )
        if app._backends.unsaid(text):
            logger.warning("%s", text)


def _at_once(outcome: AnyOutcome | None) -> AnyOutcome:
    """The outcome, with no time between two attempts."""
    if isinstance(outcome, RetryAt):
        return msgspec.structs.replace(outcome, delay=0.0)
    if outcome is None or isinstance(outcome, HandBack):  # there is nobody to hand it back to
        why = getattr(outcome, "unable", "") or "its event loop has ended"
        return Failed(Failure("inline", message=f"it could not be run: {why}"))
    return outcome
