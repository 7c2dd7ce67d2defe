"""How much waits in the broker: asked when somebody looks, but not more often than it may be."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Collection, Iterator
from typing import TYPE_CHECKING, Any

from prometheus_client.core import GaugeMetricFamily

from xqueue_core.views import Stats

if TYPE_CHECKING:
    from xqueue_core.abc import TaskView

logger = logging.getLogger("xqueue.plugins")

#: States of which the number is told.
STATES = ("scheduled", "pending", "processing")


class Depth:
    """One view, on the event loop that it was made on; asked from any other thread.

    Args:
        every: how long an answer is used (seconds).
        timeout: longest wait for one (seconds).
    """

    def __init__(
        self,
        view: TaskView,
        every: float,
        timeout: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._view = view
        self._every = every
        self._timeout = timeout
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._asked = float("-inf")
        self._stats: Stats | None = None

    def families(self, lanes: Collection[str], other: str) -> Iterator[Any]:
        """Gauges by lane and state; of lanes that are not among these, the sum under ``other``."""
        stats = self._latest()
        yield GaugeMetricFamily(
            "xqueue_depth_up", "Whether the broker said how much waits", value=stats is not None
        )
        tasks: dict[tuple[str, str], int] = {}
        oldest: dict[str, float] = {}
        stats = stats or Stats()
        for name, lane in stats.lanes.items():
            label = name if name in lanes else other
            for row in lane.types.values():
                for state in STATES:
                    key = label, state
                    tasks[key] = tasks.get(key, 0) + getattr(row, state)
            age = 0.0 if lane.oldest_at is None else stats.at - lane.oldest_at
            oldest[label] = max(oldest.get(label, 0.0), age)
        family = GaugeMetricFamily("xqueue_tasks", "Tasks in the broker", labels=["lane", "state"])
        for labels, count in tasks.items():
            family.add_metric(labels, count)
        yield family
        ages = GaugeMetricFamily(
            "xqueue_oldest_seconds", "How long the oldest pending task waits", labels=["lane"]
        )
        for label, age in oldest.items():
            ages.add_metric([label], age)
        yield ages

    def _latest(self) -> Stats | None:
        """What the broker said; None if it did not, within its time."""
        with self._lock:  # who looks meanwhile waits for this answer, and asks nothing
            now = self._clock()
            if now - self._asked >= self._every and not self._is_here():
                self._asked = now
                self._stats = self._ask()
            return self._stats

    def _is_here(self) -> bool:
        """True on the view's own loop, where waiting for it would be for ever."""
        return asyncio._get_running_loop() is self._loop

    def _ask(self) -> Stats | None:
        async def ask() -> Stats:
            async with asyncio.timeout(self._timeout):
                return await self._view.stats()

        try:
            asking = asyncio.run_coroutine_threadsafe(ask(), self._loop)
        except RuntimeError:  # the loop has ended
            return None
        try:
            return asking.result(self._timeout)
        except Exception as error:  # noqa: BLE001 - whatever the broker does, metrics are shown
            asking.cancel()
            logger.warning("the broker does not say how much waits: %r", error)
            return None
