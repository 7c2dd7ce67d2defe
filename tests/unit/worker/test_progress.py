"""Progress that would harm others: too much of it, or texts that cannot be kept."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import msgspec
import pytest

from support.virtual import run, tools
from unit.worker.parts import make_job
from xqueue_core import Context
from xqueue_core.calls import Delivery
from xqueue_core.errors import Refused, Unavailable
from xqueue_core.task import Event, EventName, Progress, State, Task
from xqueue_core.worker.host.on_asyncio import AsyncioHost
from xqueue_core.worker.progress import Publisher, Reporter


def test_a_busy_loop_is_woken_once_however_much_is_reported() -> None:
    async def main() -> None:
        sent: list[Event] = []
        wakes: list[Callable[[], None]] = []
        host = AsyncioHost(asyncio.get_running_loop())
        host.soon = wakes.append  # type: ignore[assignment]
        reporter = Reporter(sent.append, host, "w~1", tools())
        one, other = make_job("one"), make_job("other")
        for n in range(1000):
            reporter.report(one, Progress(float(n)))
            reporter.report(other, Progress(float(n)))
        assert len(wakes) == 2
        for wake in wakes:
            wake()
        await asyncio.sleep(1)
        assert [event.data["percent"] for event in sent] == [0.0, 0.0, 999.0, 999.0]
        reporter.report(one, Progress(1.0))
        reporter.report(one, Progress(2.0))
        assert len(wakes) == 3
        one.ended = True
        wakes[-1]()
        assert sent[-1].data["percent"] == 2.0

    run(main())


class Keeping:
    """A run that keeps what is reported."""

    def __init__(self) -> None:
        self.reports: list[Progress] = []

    def told(self) -> bool:
        """Never."""
        return False

    def left(self) -> float | None:
        """No time-out."""
        return None

    def report(self, progress: Progress) -> None:
        """Keep it."""
        self.reports.append(progress)


def test_a_message_that_utf8_cannot_hold_is_escaped() -> None:
    kept = Keeping()
    ctx = Context(Delivery(task=Task(id="job:1", lane="job"), token=1, attempt=1), kept)
    ctx.progress_nowait(1, "caf\udce9 ☕")
    asyncio.run(ctx.progress(1, "caf\udce9 ☕"))
    assert [one.message for one in kept.reports] == ["caf\\udce9 ☕"] * 2
    assert msgspec.msgpack.encode(kept.reports)


@pytest.mark.parametrize(
    ("error", "published", "dropped"),
    [
        (OverflowError("too big"), ["job:a", "job:c"], 1),
        (Refused("too big"), ["job:a", "job:c"], 1),
        (Unavailable("away"), [], 3),
    ],
)
def test_what_cannot_be_published_costs_its_neighbours_nothing(
    error: Exception, published: list[str], dropped: int
) -> None:
    class Picky:
        def __init__(self) -> None:
            self.published: list[str] = []

        async def publish(self, events: Sequence[Event]) -> None:
            if any(event.id == "job:b" for event in events):
                raise error
            self.published += [event.id for event in events]

    async def main() -> None:
        notifier = Picky()
        publisher = Publisher(notifier)  # type: ignore[arg-type]
        for name in ("job:a", "job:b", "job:c"):
            publisher.add(Event(name, 0, EventName.PROGRESS, State.PROCESSING, 0.0))
        await publisher.flush()
        assert (notifier.published, publisher.dropped) == (published, dropped)

    run(main())
