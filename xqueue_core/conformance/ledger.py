"""The check after every case: nothing was lost, and the ledger says so (G13, P4.5)."""

from __future__ import annotations

from collections import Counter

from xqueue_core.calls import Ability
from xqueue_core.conformance.bench import Bench
from xqueue_core.conformance.check import Broken, same
from xqueue_core.task import State
from xqueue_core.views import Filter, TaskInfo, TypeStats

#: Tasks on one page of the recount.
PAGE = 500


async def audit(bench: Bench) -> None:
    """Compare the ledger with what the case saw accepted, and with a recount of every task.

    A view may lag, and time passes meanwhile: it has five seconds to agree.
    """
    if Ability.VIEW not in bench.harness.capabilities.abilities:
        return
    wrong = ""

    async def agrees() -> bool:
        nonlocal wrong
        wrong = await _disagreement(bench)
        return not wrong

    try:
        await bench.until("the ledger agrees", agrees)
    except Broken:
        raise Broken(f"the ledger does not balance after the case: {wrong}") from None


async def _disagreement(bench: Bench) -> str:
    """What is wrong with the ledger now; "" if nothing."""
    stats = await bench.view.stats()
    recount = Counter((one.lane, one.type, _column(one)) for one in await every_task(bench))
    for lane, entry in stats.lanes.items():
        for type, row in entry.types.items():
            if not row.conserved:
                return f"{type} in {lane}: {row}"
            if row.accepted != bench.new[lane, type]:
                return f"{type} in {lane}: {bench.new[lane, type]} were accepted, {row}"
            for state in ("scheduled", "pending", "processing"):
                if recount[lane, type, state] != getattr(row, state):
                    return f"{type} in {lane}: {recount[lane, type, state]} are {state}, {row}"
    total = stats.total()
    if total.accepted != sum(bench.new.values()) or total.replayed != bench.replays:
        return f"{sum(bench.new.values())} accepted and {bench.replays} replayed, {total}"
    return _finals(recount, total)


def _finals(recount: Counter[tuple[str, str, str]], total: TypeStats) -> str:
    """Every task that shows as ended was counted; those expunged or replayed count too."""
    shown: Counter[str] = Counter()
    for (_, _, column), number in recount.items():
        shown[column] += number
    for state in ("success", "failed", "canceled", "timeout"):
        if shown[state] > getattr(total, state):
            return f"{shown[state]} tasks are {state}, {total}"
    return ""


def _column(one: TaskInfo) -> str:
    # What cannot be decoded counts as live: as pending, unless the backend knows better.
    return State(one.state).value


async def every_task(bench: Bench, filter: Filter | None = None) -> list[TaskInfo]:
    """All pages of a listing."""
    found: list[TaskInfo] = []
    after: str | None = None
    while True:
        page = await bench.view.list(filter or Filter(), after, PAGE)
        found += page.items
        after = page.next
        if after is None:
            break
    same(len({one.id for one in found}), len(found), "number of different tasks listed")
    return found
