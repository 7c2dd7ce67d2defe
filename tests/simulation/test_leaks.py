"""Which permits a worker may leave behind, and which not."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from simulation import leaks
from xqueue_core.permits import Permit


def process(holders: list[tuple[str, str, str]], *, active: bool, troubled: bool = False) -> Any:
    """A worker w1 that knows of its permit x, and its world; ``active``: code runs under it.

    It has withdrawn z just now.
    """
    grip = SimpleNamespace(
        permit=Permit(id="x", key="lane:b"), job=SimpleNamespace(started=5.0 * active)
    )
    again = [(3.0, Permit(id="z", key="lane:b"))]
    engine = SimpleNamespace(permits=SimpleNamespace(_held={"x": grip}, _again=again))
    calm = iter([troubled, False])
    one: Any = SimpleNamespace(
        name="w1",
        dead=False,
        parts=SimpleNamespace(engine=engine),
        net=SimpleNamespace(troubled=lambda seconds: next(calm)),
    )
    broker = SimpleNamespace(holders=lambda: list(holders))
    one.world = SimpleNamespace(broker=broker, processes=[one])
    return one


@pytest.mark.parametrize(
    ("id", "worker", "active", "found"),
    [
        ("x", "w1", False, 1),
        ("x", "w1", True, 0),
        ("y", "w1", True, 1),
        ("y", "w2", True, 0),
        ("z", "w1", True, 0),
    ],
)
def test_nothing_is_kept_but_for_code_that_runs_on(
    id: str, worker: str, active: bool, found: int
) -> None:
    assert len(leaks.kept(process([("lane:b", id, worker)], active=active))) == found


def unnamed(monkeypatch: pytest.MonkeyPatch, id: str, worker: str = "w1", *, until: int) -> int:
    """How many a world finds whose worker gives back what it has not named at its n-th look."""
    holders = [("lane:b", id, worker)]
    one = process(holders, active=False, troubled=True)
    looks = iter(range(1, 100))

    async def sleep(seconds: float) -> None:
        if next(looks) == until:
            holders.clear()

    monkeypatch.setattr(asyncio, "sleep", sleep)
    return len(asyncio.run(leaks.unnamed(one.world)))


def test_what_a_worker_does_not_know_of_is_taken_back_when_it_is_in_no_doubt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert unnamed(monkeypatch, "x", until=0) == 0
    assert unnamed(monkeypatch, "y", "w9", until=0) == 0, "the dead: it expires"
    assert unnamed(monkeypatch, "y", until=1) == 0
    assert unnamed(monkeypatch, "y", until=2) == 0
    assert unnamed(monkeypatch, "y", until=3) == 1
