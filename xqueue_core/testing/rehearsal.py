"""``app.testing()``: one app on a broker of its own for a while, with time that costs none."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import AbstractAsyncContextManager, ExitStack
from datetime import UTC, datetime, timedelta
from random import Random
from typing import TYPE_CHECKING, Any

from xqueue_core.atonce import at_once
from xqueue_core.client.declaring import unknown_type
from xqueue_core.client.elsewhere import on_trio
from xqueue_core.client.options import finite
from xqueue_core.errors import ConfigError
from xqueue_core.ids import split_id
from xqueue_core.testing.actor import Actor
from xqueue_core.testing.broker import URL, Broker
from xqueue_core.testing.clock import VirtualClock
from xqueue_core.testing.conductor import Conductor, Goal
from xqueue_core.testing.failing import judged, raise_bad
from xqueue_core.testing.ran import Ran
from xqueue_core.testing.submissions import Submissions, read
from xqueue_core.testing.swapping import swapped

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from xqueue_core.abc import Faces, Role
    from xqueue_core.app import XQueue
    from xqueue_core.client.handler import Submitter
    from xqueue_core.connect import Connection
    from xqueue_core.settings import Settings
    from xqueue_core.views import TaskInfo

#: Longest wait for a thread to end whose work is done (seconds).
JOIN = 2.0
_OURS = ("xqueue-engine", "xqueue-handler", "xqueue-lifespan", "xqueue-on-error")


class Testing:
    """What ``app.testing()`` gives: a context manager, and what to do and ask within it.

    Within it, whatever this app does goes to a broker in memory that is made for it and gone
    after it. ``run_all``, ``run_one`` and ``advance`` work at once where no event loop runs;
    within a coroutine they are to be awaited, and handlers then run on its loop.

    Args:
        app: the app.
        now: what the broker's clock shows at the beginning, with a time zone; by default the
            time of this machine.
        raise_errors: what fails for good is raised by the call that ran it.

    Raises:
        ConfigError: ``now`` has no time zone.
    """

    __test__ = False  # for pytest, which would collect it by its name

    def __init__(
        self, app: XQueue, *, now: datetime | None = None, raise_errors: bool = True
    ) -> None:
        if now is not None and now.tzinfo is None:
            raise ConfigError(f"app.testing(now=...) needs a time zone, and {now!r} has none")
        self._app = app
        self._raise_errors = raise_errors
        self._clock = VirtualClock(time.time() if now is None else now.timestamp())
        self._random = Random(0)  # so that a test's retries come at the same times each run
        self._stack = ExitStack()
        self._runner: asyncio.Runner | None = None
        self._broker: Broker | None = None
        self._faces: Faces | None = None

    # -- the context -----------------------------------------------------------------------------

    def __enter__(self) -> Self:
        """From here on.

        Raises:
            ConfigError: the app is being tested already, this object was used before, or the
                app's settings are wrong.
        """
        if self._broker is not None:
            raise ConfigError("this app.testing() was used before: call it anew for each test")
        settings = self._app.settings()
        alone = {"url": URL, "semaphore_url": None, "notifier_url": None, "view_url": None}
        # Nothing is to leave the process: no plugin counts or tells what a test does.
        served = {"lanes": None, "types": None, "plugins": ()}
        broker = Broker(settings.model_copy(update={**alone, **served}), self._clock)
        with ExitStack() as stack:
            stack.enter_context(swapped(self._app, self))
            stack.callback(self._let_go)
            self._faces = stack.enter_context(broker.opened())
            self._broker = broker
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """To here: the app is as it was, and what was submitted is gone."""
        self._stack.close()

    async def __aenter__(self) -> Self:
        """:meth:`__enter__`."""
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """:meth:`__exit__`; what the app has open on this event loop is closed before."""
        try:
            await self._app.aclose()
        finally:
            self.__exit__(kind, error, traceback)

    @property
    def settings(self) -> Settings:
        """The app's settings within the context: its own, but for the broker."""
        return self._open().settings

    def connect(self, role: Role | None = None) -> AbstractAsyncContextManager[Connection]:
        """A connection to the broker in memory."""
        return self._open().connect(role)

    # -- looking ---------------------------------------------------------------------------------

    @property
    def now(self) -> datetime:
        """What the broker's clock shows, UTC. It moves only when time is made to pass."""
        return datetime.fromtimestamp(self._clock.wall(), UTC)

    def submitted(self, type: Submitter[Any, Any] | str | None = None) -> Submissions:
        """What was submitted since the beginning, in order; of one type, or of all.

        By this app's clients, handlers included. Slots of schedules are not among it, nor what
        was refused.

        Args:
            type: a handler, or the name of a type.

        Raises:
            UnknownType: the app declares no type of that name, and none was submitted.
        """
        name = type if type is None or isinstance(type, str) else type.spec.name
        puts = list(self._open().notes.puts)
        types = {*self._app.handlers, *(task.type for task, _ in puts)}
        if name is not None and name not in types:
            raise unknown_type(name, types)
        return Submissions(
            read(task, id, self._app.handlers) for task, id in puts if name in (None, task.type)
        )

    def info(self, id: str) -> TaskInfo | None:
        """A task as it is now, with its history; None if there is no such task.

        Raises InvalidTask if it is no id.
        """
        split_id(id)
        return self._find([id])[0]

    # -- running ---------------------------------------------------------------------------------

    def run_all(self, *, raise_errors: bool | None = None, most: int = 10_000) -> Ran:
        """Run everything: what is due now, then what becomes due, until nothing is live.

        The clock goes from each moment at which a task is due to the next. Recurring schedules
        do not fire, as they would do so for ever: they do by :meth:`advance`. Tasks in a lane
        that is paused are left.

        Args:
            raise_errors: see :class:`Testing`; None: as was said there.
            most: attempts after which it is called endless.

        Returns:
            The attempts, in the order in which they ended. Within a coroutine: to be awaited.

        Raises:
            What the handler has raised of the first task that ended as ``failed``; TaskFailed
                if it has raised nothing; TaskTimedOut of one that ended as ``timeout``;
                InvalidResult of one that returned what its return annotation refuses. Notes name
                the task, and others that ended so.
            AssertionError: there is no end to it, or something due is never run.
            ConfigError: it is running already.
        """
        return self._rehearse(Goal(most=most), raise_errors)

    def run_one(self, *, raise_errors: bool | None = None) -> Ran:
        """Run one attempt of the task that is next; if none is due, the clock goes on to it.

        Returns and raises as :meth:`run_all` does; nothing is in it if nothing was live.
        """
        return self._rehearse(Goal(attempts=1), raise_errors)

    def advance(
        self, time: float | timedelta, *, raise_errors: bool | None = None, most: int = 10_000
    ) -> Ran:
        """Let so much time pass, and whatever is due in it happen: tasks, retries, schedules.

        Schedules fire at their slots, beginning with the first slot after the first call.

        Args:
            time: seconds, 0 or more, or a timedelta.

        Returns and raises as :meth:`run_all` does; what is not due in that time is left, and
        what is due but cannot run as well. InvalidTask: ``time`` is no such duration.
        """
        seconds = time.total_seconds() if isinstance(time, timedelta) else time
        finite("the time to advance", seconds)
        return self._rehearse(Goal(until=self._clock.wall() + seconds, most=most), raise_errors)

    def _rehearse(self, goal: Goal, raise_errors: bool | None) -> Ran:
        self._open()
        wanted = self._raise_errors if raise_errors is None else raise_errors
        work: Any = self._work(goal, wanted)
        if _in_coroutine():
            # A coroutine in place of what it answers: forgetting to await it cannot go unnoticed.
            waiting: Ran = work
            return waiting
        if self._runner is None:
            self._runner = asyncio.Runner()
        ran: Ran = self._runner.run(work)
        return ran

    async def _work(self, goal: Goal, raise_errors: bool) -> Ran:
        broker = self._open()
        before = set(threading.enumerate())
        ran = Ran()
        with broker.runs.one():
            conductor = Conductor(goal, self._clock, self._needed(), broker.notes)
            actor = Actor(
                self._app,
                broker,
                self._clock,
                conductor,
                self._random,
                schedules=goal.until is not None,
            )
            broker.notes.begin(actor.id, goal.attempts)
            try:
                await actor.run()
            finally:
                ran += broker.notes.runs
                _join(set(threading.enumerate()) - before)
        ran = judged(ran, self._find, self._app.handlers)
        if raise_errors:
            raise_bad(ran, self._find)
        if conductor.error is not None:
            raise AssertionError(conductor.error)
        return ran

    # -- inside ----------------------------------------------------------------------------------

    def _open(self) -> Broker:
        if self._broker is None or self._app._testing is not self:
            raise ConfigError("use it within its context: `with app.testing() as t:`")
        return self._broker

    def _needed(self) -> Faces:
        self._open()
        if self._faces is None:
            raise ConfigError("use it within its context: `with app.testing() as t:`")
        return self._faces

    def _find(self, ids: list[str]) -> list[TaskInfo | None]:
        view: Any = self._needed().view
        return list(at_once(view.find(ids)))

    def _let_go(self) -> None:
        """End the private event loop, with what is open on it."""
        if self._runner is not None:
            runner, self._runner = self._runner, None
            with runner:
                runner.run(self._app.aclose())


def _in_coroutine() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return on_trio()
    return True


def _join(threads: set[threading.Thread]) -> None:
    """Wait for those of the worker: all have been told to end."""
    until = time.monotonic() + JOIN
    for thread in threads:
        if thread.name.startswith(_OURS):
            thread.join(max(0.0, until - time.monotonic()))
