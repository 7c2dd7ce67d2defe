"""Frames of ``xqueue top``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from xqueue_core.cli.caller import ask
from xqueue_core.cli.drawing import drawn
from xqueue_core.cli.output import Output, Part, Table
from xqueue_core.cli.shown.lanes import lanes_data, lanes_table
from xqueue_core.cli.shown.values import iso
from xqueue_core.cli.shown.workers import worker_data, workers_table
from xqueue_core.cli.views import asked_limits, asked_stats, asked_workers
from xqueue_core.permits import KeyInfo
from xqueue_core.views import Stats, WorkerInfo

if TYPE_CHECKING:
    from xqueue_core.app import XQueue
    from xqueue_core.connect import Connection


@dataclass(frozen=True, slots=True)
class Frame:
    """What there is at one moment, and how much was accepted and ended each second since the
    frame before; None in the first."""

    stats: Stats
    limits: Mapping[str, KeyInfo]
    workers: Sequence[WorkerInfo]
    accepted: float | None = None
    ended: float | None = None

    def data(self) -> dict[str, Any]:
        """As JSON types."""
        return {
            **lanes_data(self.stats, self.limits),
            "workers": [worker_data(one) for one in self.workers],
            "rates": {"accepted": self.accepted, "ended": self.ended},
        }

    def parts(self) -> list[Part]:
        """For people: the sums in a line, then lanes and workers."""
        total = self.stats.total()
        alive = sum(one.alive for one in self.workers)
        rates = "" if self.ended is None else f", {self.accepted:.1f} in/s, {self.ended:.1f} out/s"
        head = (
            f"{iso(self.stats.at)}  {total.pending} pending, {total.processing} processing, "
            f"{total.scheduled} scheduled, {total.failed + total.timeout} failed; "
            f"{alive} {'worker' if alive == 1 else 'workers'}{rates}"
        )
        return [head, "", lanes_table(self.stats, self.limits), "", workers_table(self.workers)]


async def frame(app: XQueue, before: Frame | None) -> Frame:
    """Look now. Raises BrokerError if the broker does not answer."""

    async def call(connection: Connection) -> Frame:
        stats = await asked_stats(connection)
        limits = await asked_limits(connection, sorted(stats.lanes))
        return Frame(stats, limits, await asked_workers(connection))

    now = await ask(app, call)
    if before is None or now.stats.at <= before.stats.at:
        return now
    seconds = now.stats.at - before.stats.at
    one, two = before.stats.total(), now.stats.total()
    accepted = round((two.accepted - one.accepted) / seconds, 3)
    ended = round((two.final - one.final) / seconds, 3)
    return Frame(now.stats, now.limits, now.workers, accepted, ended)


@contextmanager
def screen(out: Output, leave: str) -> Iterator[Callable[[Frame, str], None]]:
    """Within, what it gives draws a frame, and what is wrong: a line of JSON, or the terminal.

    ``leave`` is the key that leaves the screen, which is shown there.
    """
    if out.as_json:
        yield lambda one, trouble: out.line({**one.data(), "trouble": trouble or None}, "")
        return
    from rich.console import Group
    from rich.live import Live
    from rich.text import Text

    with Live(screen=True, auto_refresh=False) as live:

        def shown(part: Part) -> Any:
            if isinstance(part, Table):
                return drawn(part, live.console.width)
            return Text(part)

        def draw(one: Frame, trouble: str) -> None:
            first = Text(trouble, style="red") if trouble else Text(f"{leave}: leave", style="dim")
            live.update(Group(first, *map(shown, one.parts())), refresh=True)

        yield draw
