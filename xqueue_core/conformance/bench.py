"""What a case works on: an open backend in a namespace of its own, and words to tell a story."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    asynccontextmanager,
    suppress,
)
from typing import Any, TypeVar

import anyio
from anyio.abc import TaskGroup

from xqueue_core.abc import Faces, Notifier, Semaphore, TaskQueue, TaskView
from xqueue_core.calls import Accepted, AnyCommand, Declare, Did, Put, Verdict
from xqueue_core.conformance.background import Background
from xqueue_core.conformance.cases import Case
from xqueue_core.conformance.check import Broken, same
from xqueue_core.conformance.harness import Harness
from xqueue_core.conformance.pace import Pace
from xqueue_core.conformance.worker import LONG, Worker
from xqueue_core.errors import Unavailable, Unknown
from xqueue_core.task import Failure, RetryAt, Task
from xqueue_core.views import TaskInfo

T = TypeVar("T")

#: Type and lane of a task whose case does not care.
TYPE = "job"
#: Seconds between two looks at something that is awaited.
POLL = 0.01
#: What tasks of cases that retry at once fail with.
OOPS = Failure("exception", type="kit.Oops", message="as the case wanted")


class Bench:
    """One case's scenario.

    Attributes:
        harness: the author's.
        namespace: the case's own.
        scale: how many times longer than usual everything takes.
        short: a lease, in seconds, that a case can wait for.
        pace: tells how long to wait on a machine that is busy.
        lanes: lanes of the tasks made so far; workers lease from all of them.
        new: how many puts were answered NEW, by lane and type; ``duplicates``: how many DUPLICATE.
        replays: how many replays were applied.
    """

    def __init__(
        self, harness: Harness, case: Case, namespace: str, pace: Pace | None = None
    ) -> None:
        self.harness = harness
        self.pace = pace or Pace()
        self.case = case
        self.namespace = namespace
        self.scale = harness.time_scale
        self.short = 0.5 * self.scale
        self.clock = time.monotonic
        self.lanes: dict[str, None] = {TYPE: None}
        self.new: Counter[tuple[str, str]] = Counter()
        self.duplicates = 0
        self.replays = 0
        self._numbers: Counter[str] = Counter()
        self._workers: list[Worker] = []
        self._opened = AsyncExitStack()
        self._faces: Faces | None = None
        self._group: TaskGroup | None = None
        self._running: list[Background] = []

    # -- opening and closing ------------------------------------------------------------------

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Bench]:
        """Open the backend and keep up its maintenance as one worker would."""
        async with anyio.create_task_group() as group:
            self._group = group
            group.start_soon(self.pace.watch)
            await self._open()
            try:
                yield self
            finally:
                with anyio.CancelScope(shield=True), anyio.move_on_after(5):
                    await self.close()
                group.cancel_scope.cancel()

    async def _open(self) -> None:
        self._faces = await self.another()
        self.start(self._maintain, self._faces.queue)

    async def close(self) -> None:
        """Stop what runs beside the case, workers too, and close everything that was opened."""
        for worker in self._workers:
            await worker.die()
        await self.rest()
        await self._opened.aclose()

    async def rest(self) -> None:
        """Stop what runs beside the case."""
        while self._running:
            await self._running.pop().stop()

    async def reopen(self, *, restart: bool = False) -> None:
        """Close everything, restart the broker if asked to, and open it again."""
        await self.close()
        if restart:
            await self.harness.restart()
        self._opened = AsyncExitStack()
        await self._open()

    async def another(self) -> Faces:
        """Open the backend once more, as another process would; closed when the case ends."""
        return await self._opened.enter_async_context(self.opening())

    def opening(self, *, beside: str = "") -> AbstractAsyncContextManager[Faces]:
        """The backend opened once more, for a part of the case; ``beside``: in a namespace of
        its own, whose name is the case's and this."""
        return self.harness.open(self.namespace + beside, self.case.settings)

    def start(self, work: Callable[..., Awaitable[Any]], *args: Any) -> Background:
        """Run something in the background until it ends, is stopped, or the case ends."""
        if self._group is None:
            raise RuntimeError("the bench is not open")
        self._running.append(Background(self._group, work, *args))
        return self._running[-1]

    async def _maintain(self, queue: TaskQueue) -> None:
        while True:
            # As the core does: an outage is over some day, and the case tells what it makes of it.
            wanted_in = 0.1
            with suppress(Unavailable, Unknown):
                wanted_in = await queue.maintain(0.1)
            await anyio.sleep(max(POLL, wanted_in))

    # -- faces --------------------------------------------------------------------------------

    @property
    def faces(self) -> Faces:
        """The first of what was opened."""
        if self._faces is None:
            raise RuntimeError("the bench is not open")
        return self._faces

    @property
    def queue(self) -> TaskQueue:
        """Its queue."""
        return self.faces.queue

    @property
    def view(self) -> TaskView:
        """Its view."""
        return self.faces.needed("view")  # type: ignore[no-any-return]

    @property
    def semaphore(self) -> Semaphore:
        """Its semaphore."""
        return self.faces.needed("semaphore")  # type: ignore[no-any-return]

    @property
    def notifier(self) -> Notifier:
        """Its notifier."""
        return self.faces.needed("notifier")  # type: ignore[no-any-return]

    # -- tasks --------------------------------------------------------------------------------

    def task(self, type: str = TYPE, *, name: str = "", lane: str = "", **options: Any) -> Task:
        """A task that has not been put; its name is new and its lane the type, unless given."""
        if not name:
            self._numbers[type] += 1
            name = f"t{self._numbers[type]}"
        self.lanes[lane or type] = None
        return Task(id=f"{type}:{name}", lane=lane or type, **options)

    def number(self) -> int:
        """A number that was not given before."""
        self._numbers[""] += 1
        return self._numbers[""]

    async def put(self, *tasks: Task, queue: TaskQueue | None = None) -> list[Accepted]:
        """Put tasks and count the answers."""
        answers = list(await (queue or self.queue).put(tasks))
        same(len(answers), len(tasks), "number of answers to put")
        for task, answer in zip(tasks, answers, strict=True):
            if answer.put in (Put.NEW, Put.UNDECIDED):
                self.new[task.lane, task.type] += 1
            elif answer.put is Put.DUPLICATE:
                self.duplicates += 1
        return answers

    async def put_in_doubt(self, *tasks: Task) -> None:
        """Put tasks whose earlier puts were cancelled: each is accepted exactly once by now."""
        await self.queue.put(tasks)
        self.accepted(*tasks)

    def accepted(self, *tasks: Task) -> None:
        """Count tasks of which the case knows that they were accepted, by whichever put it was."""
        for task in tasks:
            self.new[task.lane, task.type] += 1

    async def accept(self, *tasks: Task, queue: TaskQueue | None = None) -> None:
        """Put tasks that must all be accepted."""
        for task, answer in zip(tasks, await self.put(*tasks, queue=queue), strict=True):
            if answer.put not in (Put.NEW, Put.UNDECIDED):
                raise Broken(f"{task.id} was not accepted: {answer}")

    async def submit(self, type: str = TYPE, **options: Any) -> Task:
        """Make a task, put it, and insist that it is accepted."""
        task = self.task(type, **options)
        await self.accept(task)
        return task

    async def submit_many(self, count: int, type: str = TYPE, **options: Any) -> list[Task]:
        """The same for several, in one call."""
        tasks = [self.task(type, **options) for _ in range(count)]
        await self.accept(*tasks)
        return tasks

    async def control(self, *commands: AnyCommand) -> list[Verdict]:
        """Give commands and count the replays."""
        verdicts = list(await self.queue.control(commands))
        same(len(verdicts), len(commands), "number of verdicts of control")
        for command, verdict in zip(commands, verdicts, strict=True):
            if type(command).__name__ == "Replay" and verdict.did is Did.APPLIED:
                self.replays += 1
        return verdicts

    async def does(self, command: AnyCommand, did: Did = Did.APPLIED) -> Verdict:
        """Give one command and insist on what it does."""
        verdict = (await self.control(command))[0]
        same(verdict.did, did, f"answer to {command}")
        return verdict

    async def declare(self, type: str, lane: str) -> None:
        """Record a type's lane."""
        self.lanes[lane] = None
        await self.does(Declare(type, lane))

    async def fail_for_good(self, worker: Worker, failure: Failure = OOPS) -> None:
        """Lease the next task and fail its last attempt."""
        await worker.ends(await worker.one(), RetryAt(0.0, failure))

    # -- workers ------------------------------------------------------------------------------

    async def worker(
        self, name: str = "w", *, lease: float = LONG, queue: TaskQueue | None = None
    ) -> Worker:
        """A new worker that has registered.

        With a lease short enough to run out during the case it beats in the background, every
        ``lease / 5``, until it dies.
        """
        self._numbers["worker"] += 1
        id = f"{name}~{self._numbers['worker']:032x}"
        worker = Worker(self, queue or self.queue, id, lease)
        self._workers.append(worker)
        await worker.beat()
        if lease < LONG:
            worker.live()
        return worker

    # -- waiting and looking ------------------------------------------------------------------

    async def until(self, what: str, ready: Callable[[], Awaitable[T]], within: float = 5.0) -> T:
        """Look again and again until ``ready`` answers something true; fail after ``within``."""
        patience = self.pace.wait(within * self.scale)
        while (left := patience.left()) > 0:
            with anyio.move_on_after(left):
                while True:
                    if got := await ready():
                        return got
                    await anyio.sleep(POLL)
        raise Broken(f"waited {within:g} s in vain until {what}")

    async def passes(self, seconds: float) -> None:
        """Let time pass: on the backend's clock if the harness can move it, else really."""
        if "clock" not in self.harness.traits:
            # Again for what is left: some event loops wake up to a millisecond early.
            end = self.clock() + seconds
            while (left := end - self.clock()) > 0:  # noqa: ASYNC110 - it waits for time alone
                await anyio.sleep(left)
            return
        step = min([seconds, *(w.heartbeat for w in self._workers if w.alive)])
        left = seconds
        while left > 0:
            await self.harness.advance(min(step, left))
            left -= step
            for worker in self._workers:
                if worker.alive:
                    await worker.beat()

    async def info(self, task: Task | str) -> TaskInfo | None:
        """The task as a reader sees it now, or None if nobody knows it."""
        return (await self.view.find([task if isinstance(task, str) else task.id]))[0]

    async def sees(self, task: Task | str, *, within: float = 5.0, **expected: Any) -> TaskInfo:
        """Wait until the task's fields are as expected; for a view that may lag."""
        seen: TaskInfo | None = None

        async def as_expected() -> bool:
            nonlocal seen
            seen = await self.info(task)
            return seen is not None and all(
                getattr(seen, name) == value for name, value in expected.items()
            )

        id = task if isinstance(task, str) else task.id
        try:
            await self.until("", as_expected, within)
        except Broken:
            shown = {name: getattr(seen, name) for name in expected} if seen else "nothing"
            raise Broken(f"{id} as the view shows it: expected {expected}, got {shown}") from None
        if seen is None:
            raise Broken(f"{id} is not known")
        return seen

    async def forgets(self, task: Task, *, within: float = 5.0) -> None:
        """Wait until nobody knows the task."""

        async def gone() -> bool:
            return await self.info(task) is None

        await self.until(f"{task.id} is forgotten", gone, within)
