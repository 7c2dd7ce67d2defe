"""Runs an app's middleware around the handlers of its tasks, of whatever kind."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

from xqueue_core.around import CallNext, Middleware
from xqueue_core.context import Context
from xqueue_core.worker.bodies import Bodies
from xqueue_core.worker.host import Host, Latch, Scope
from xqueue_core.worker.job import Job, Stage, Told

#: Runs the handler of a job, given a context; its result is the handler's.
Inmost = Callable[[Job, Context], Awaitable[Any]]


class Layers:
    """Middleware, the outermost first. Each job goes through all of it, in one coroutine.

    What middleware runs in another one, and does not wait for, ends with the outermost layer.

    Args:
        inmost: runs the handler; by default here, as a coroutine.
    """

    def __init__(
        self,
        middleware: Sequence[Middleware],
        host: Host,
        bodies: Bodies,
        inmost: Inmost | None = None,
    ) -> None:
        self._outermost, *inner = middleware
        self._inner = tuple(reversed(inner))
        self._host = host
        self._bodies = bodies
        self._inmost = inmost or bodies.call

    async def enter(self, job: Job) -> Any:
        """The result of the outermost layer. Raises what it raises."""

        async def inmost(context: Context) -> Any:
            if job.told is not Told.NOTHING or job.stage is Stage.ENDED:
                raise asyncio.CancelledError("told to end before the handler was called")
            return await self._inmost(job, context)

        calls = Calls(self._host)
        call_next = calls.tracked(inmost)
        for layer in self._inner:
            call_next = calls.tracked(_around(layer, call_next))
        try:
            return await self._outermost(self._bodies.context(job), call_next)
        finally:
            await calls.end()


class Calls:
    """The calls that the layers of one job have under way in other tasks than the job's own.

    A call in the job's own task is over when its caller is; it costs a look at which task it is.
    """

    def __init__(self, host: Host) -> None:
        self._host = host
        self._own = host.current()
        self._aside: dict[object, Scope] = {}  # by the task that runs it
        self._none_left: Latch | None = None
        self._over = False

    def tracked(self, inner: CallNext) -> CallNext:
        """The same, known here while it runs."""

        async def call_next(context: Context) -> Any:
            if self._over:
                raise RuntimeError("call_next was called after the middleware had ended")
            task = self._host.current()
            if task is self._own or task in self._aside:
                return await inner(context)
            return await self._beside(task, inner, context)

        return call_next

    async def end(self) -> None:
        """The outermost layer has ended: cancel the rest, and wait until none is left.

        What that layer has returned or raised stands, whatever the job is told meanwhile; that
        is passed on to those that are still at work.
        """
        self._over = True
        if not self._aside:
            return
        self._none_left = self._host.latch()
        self._cancel()
        with suppress(*self._host.cancelled):
            await self._none_left.held(self._cancel)

    async def _beside(self, task: object, inner: CallNext, context: Context) -> Any:
        scope = self._aside[task] = self._host.scope()
        try:
            with scope:
                return await inner(context)
        finally:
            if self._aside.pop(task, None) is not None:
                self._look()
        return None  # its scope was cancelled, on trio: nobody waits for it

    def _cancel(self) -> None:
        for task, scope in list(self._aside.items()):
            if scope.cancel() is False:
                del self._aside[task]
        self._look()

    def _look(self) -> None:
        if self._none_left is not None and not self._aside:
            self._host.soon(self._none_left.set)


def _around(layer: Middleware, call_next: CallNext) -> CallNext:
    def call(context: Context) -> Awaitable[Any]:
        return layer(context, call_next)

    return call
