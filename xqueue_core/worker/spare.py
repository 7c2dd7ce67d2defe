"""A few threads for the app's plain ``on_error`` functions, given in order to those who wait."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from xqueue_core.worker.host import Host, Latch
from xqueue_core.worker.threads import Pool

logger = logging.getLogger("xqueue.worker")


@dataclass(slots=True, eq=False)
class _Turn:
    """Somebody waits for a thread."""

    latch: Latch
    given: bool = False


@dataclass(slots=True)
class _Result:
    """What became of a call in a thread."""

    value: Any = None
    raised: BaseException | None = None
    back: bool = False
    given_up: bool = False


class Spare:
    """Used on the handlers' loop.

    Args:
        most: how many threads there are. They start when they are needed.
    """

    def __init__(self, host: Host, most: int) -> None:
        self._host = host
        self._most = most
        self._pool = Pool(most, "xqueue-on-error")
        self._stuck = 0  # calls that were given up and have not returned
        self._waiting: dict[_Turn, None] = {}  # for a thread, in order
        self._given = 0  # threads that are free, and promised to one of those

    def close(self) -> None:
        """Let threads end as they become idle."""
        self._pool.close()

    async def run(self, call: Callable[[], Any], waits: Callable[[bool], bool]) -> Any:
        """What the call returns in a thread. Cancelled, the call runs on, but is not waited for.

        ``waits`` is called with True if there is no thread yet, and then with False when there is:
        if it then answers False, the call is not wanted any more, and not made.

        Raises what it raises, and RuntimeError if all threads are with calls that were given up,
        or the system gives none.
        """
        if self._pool.free <= self._given:
            waits(True)
            await self._turn()
            if not waits(False):
                self._look()
                return None
        over = self._host.latch()
        result = _Result()

        def ended() -> None:
            self._pool.finished()
            result.back = True
            if result.given_up:
                self._stuck -= 1
            over.set()
            self._look()

        def work() -> None:
            try:
                result.value = call()
            except BaseException as error:  # noqa: BLE001 - SystemExit too: the thread goes on
                result.raised = error
            try:
                self._host.soon(ended)
            except RuntimeError:
                logger.debug("the handlers' loop has ended before on_error")

        if not self._pool.submit(work):
            self._pool.finished()
            self._look()
            raise RuntimeError("the system gives no thread")
        try:
            await over.wait()
        finally:
            if not result.back:
                result.given_up = True
                self._stuck += 1
                self._look()
        raised, result.raised = result.raised, None
        if raised is not None:
            raise raised
        return result.value

    async def _turn(self) -> None:
        """Wait for a thread, which is to be taken at once."""
        turn = _Turn(self._host.latch())
        self._waiting[turn] = None
        self._look()
        try:
            await turn.latch.wait()
        except BaseException:
            self._waiting.pop(turn, None)
            if turn.given:
                self._given -= 1
                self._look()
            raise
        if not turn.given:
            raise RuntimeError(f"not called: {self._stuck} earlier calls have not returned")
        self._given -= 1

    def _look(self) -> None:
        """Give the threads that are free to those who wait, in order; or refuse them all."""
        refused = self._stuck >= self._most
        while self._waiting and (refused or self._pool.free > self._given):
            turn = next(iter(self._waiting))
            del self._waiting[turn]
            if not refused:
                turn.given = True
                self._given += 1
            turn.latch.set()
