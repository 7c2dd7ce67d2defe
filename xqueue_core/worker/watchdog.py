"""Notices that the handlers' event loop is blocked, and by whom.

It lives on the engine's loop, in another thread: there Python goes on while a handler sleeps or
computes. While a call holds the interpreter's lock nothing does; that is noticed afterwards.
"""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from types import FrameType

from xqueue_core.worker.coroutines import Coroutines
from xqueue_core.worker.crossing import Schedule
from xqueue_core.worker.job import Job, Ran
from xqueue_core.worker.tools import Tools

logger = logging.getLogger("xqueue.worker")

#: How long a loop may take to answer (seconds).
PATIENCE = 1.0
#: Seconds between two questions, and between two looks for an answer.
EVERY = 0.25
LOOK = 0.1
#: Tasks that a message names, and one about all that may be to blame.
NAMED = 3
SUSPECTS = 20

#: The frame in which all coroutines of a job are awaited, on every event loop.
_RUNS = Coroutines._run.__code__


class Watchdog:
    """Asks the handlers' loop to answer, again and again.

    Args:
        schedule: calls something on the handlers' loop.
        thread: the handlers' thread.
        active: the jobs that are here, started or not.
        frames: the innermost frame of each thread.
        past: long runs that have ended lately; the executor adds them.
        blocked: told True when it is late, and False when it answers again.
    """

    def __init__(
        self,
        schedule: Schedule,
        thread: int,
        active: Collection[Job],
        tools: Tools,
        frames: Callable[[], Mapping[int, FrameType]] = sys._current_frames,
        past: Collection[Ran] = (),
        blocked: Callable[[bool], None] = lambda blocked: None,
    ) -> None:
        self._schedule = schedule
        self._thread = thread
        self._active = active
        self._clock = tools.clock
        self._sleep = tools.sleep
        self._frames = frames
        self._past = past
        self._blocked = blocked
        self._answered = math.nan  # when it did; nan: not yet

    async def run(self) -> None:
        """Watch until cancelled, or until that loop has ended."""
        while True:
            try:
                await self._ask()
            except RuntimeError:  # it has ended
                return
            await self._pause(EVERY)

    async def _ask(self) -> None:
        asked, told = self._clock(), ""
        self._answered = math.nan
        self._schedule(self._answer)
        while math.isnan(self._answered):
            if await self._pause(LOOK):
                asked = self._clock()  # from now on: nobody could answer before
            late = self._clock() - asked
            if math.isnan(self._answered) and late > PATIENCE and not told:
                told = self._tell(late)
                self._blocked(True)
        if told:
            self._blocked(False)
            logger.warning("%s let the event loop go on after %.1f s", told, self._answered - asked)

    def _answer(self) -> None:
        """On the handlers' loop."""
        self._answered = self._clock()

    def _tell(self, late: float) -> str:
        """Log who blocks it; answers the beginning of what is to be said at the end."""
        frame = self._frames().get(self._thread)
        job, place = blocker(frame)
        if job is not None:
            who = f"handler {job.spec.name!r} (task {job.id})"
        else:
            running = _named(job.id for job in self._active if job.started)
            who = f"code that is no handler's own (running: {running})"
        logger.warning("%s blocks the event loop, for %.1f s so far, at %s", who, late, place)
        return who

    async def _pause(self, seconds: float) -> bool:
        """Sleep; True if it took so much longer that this thread cannot have run."""
        before = self._clock()
        await self._sleep(seconds)
        over = self._clock() - before - seconds
        if over <= PATIENCE:
            return False
        logger.warning(
            "this process stood still for %.1f s: a call held the interpreter's lock, or the "
            "system suspended it (%s)",
            over,
            self._suspects(before, before + seconds),
        )
        return True

    def _suspects(self, before: float, latest: float) -> str:
        """Who had started when it began, which was in this time, and had not ended before."""
        began = {one.id: one.started for one in list(self._past) if one.ended >= before}
        began |= {job.id: job.started for job in list(self._active) if job.started}
        # Who started last comes first: a call that was reached at once is its, most likely.
        ids = sorted((id for id, at in began.items() if at <= latest), key=lambda id: -began[id])
        if not ids:
            return "no task was known to run then: it may be code that is no handler's"
        return f"running then, and it may be any of them or code of none: {_named(ids, SUSPECTS)}"


def blocker(frame: FrameType | None) -> tuple[Job | None, str]:
    """Whose code a thread runs, and where: its innermost line, and the handler's own."""
    if frame is None:
        return None, "an unknown place"
    place, own = _place(frame), ""
    job: Job | None = None
    outer: FrameType | None = frame
    calls: list[FrameType] = []
    while outer is not None and outer.f_code is not _RUNS:
        calls.append(outer)
        outer = outer.f_back
    if outer is not None:
        job = outer.f_locals["job"]
        code = getattr(job.spec.function, "__code__", None)
        own = next((_place(one) for one in calls if one.f_code is code), "")
    return job, place if own in ("", place) else f"{place}, called at {own}"


def _named(jobs: Iterable[str], most: int = NAMED) -> str:
    ids = list(jobs)
    more = f" and {len(ids) - most} more" if len(ids) > most else ""
    return ", ".join(ids[:most]) + more or "nothing"


def _place(frame: FrameType) -> str:
    code = frame.f_code
    return f"{code.co_filename}:{frame.f_lineno} in {code.co_name}"
