"""Recurring schedules fired by real worker processes over one file."""

from __future__ import annotations

import signal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from support import recurring_app
from support.processes import cli, notes
from support.workers import until
from xqueue_core.calls import Ability
from xqueue_core.errors import Unsupported
from xqueue_core.views import Schedule

pytestmark = pytest.mark.anyio


def ticking(url: str, log: Path, *arguments: str) -> Any:
    """A worker process."""
    return cli(url, log, "worker", "support.recurring_app:app", *arguments)


def runs(log: Path) -> list[tuple[float, float, str]]:
    """Slot, wall time and task of each run so far."""
    lines = [one.split() for one in notes(log)]
    return [(float(slot), float(at), id) for slot, at, id, _ in lines]


async def schedules(url: str) -> list[Schedule]:
    """What the broker says of schedules."""
    async with recurring_app.make(url).connect() as connection:
        return list(await connection.faces.needed("view").schedules())


async def test_two_processes_fire_each_slot_once_though_one_is_killed(url: str, log: Path) -> None:
    with ticking(url, log) as first, ticking(url, log) as second:
        await until("both serve, and some slots were fired", lambda: len(runs(log)) >= 4, 30)
        first.send(signal.SIGKILL)
        done = len(runs(log))
        await until("the other goes on", lambda: len(runs(log)) >= done + 5, 30)
        second.send()
        assert await second.ended() == 0
    found = runs(log)
    tasks = {(slot, id) for slot, _, id in found}  # what was running when it was killed runs again
    slots = sorted(slot for slot, _ in tasks)
    assert len(slots) == len(set(slots))
    assert all(at >= slot for slot, at, _ in found), "one was early"
    # One that the killed process had leased comes back after its lease, perhaps after the end.
    assert {round(b - a, 6) for a, b in pairwise(slots)} <= {0.5, 1.0}
    [one] = await schedules(url)
    assert (one.name, one.rule, one.version) == ("tick every 0.5s",) * 2 + (1,)
    assert one.last >= slots[-1]


async def test_a_burst_worker_neither_fires_nor_announces(url: str, log: Path) -> None:
    with ticking(url, log, "--burst") as burst:
        assert await burst.ended() == 0
    assert runs(log) == []
    assert await schedules(url) == []


async def test_a_broker_without_dedupe_is_refused(url: str) -> None:
    from xqueue_core.worker.brokertime import BrokerTime
    from xqueue_core.worker.scheduler import scheduler
    from xqueue_core.worker.tools import Tools

    app = recurring_app.make(url)
    tools = Tools()
    async with app.connect() as connection:
        abilities = connection.capabilities.abilities - {Ability.DEDUPE}
        connection.capabilities = type(connection.capabilities)(abilities=abilities)
        with pytest.raises(Unsupported, match=r"'tick every 0.5s'.*DEDUPE"):
            scheduler(app.schedules.values(), connection, BrokerTime(tools), tools)
        assert scheduler([], connection, BrokerTime(tools), tools) is None
