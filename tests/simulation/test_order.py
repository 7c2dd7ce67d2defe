"""Leases out of turn are seen, also where drivers run in their workers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from unittest.mock import patch

import pytest

from simulation.plan import plan
from simulation.world import simulate
from xqueue_core.stored import leasing
from xqueue_core.stored.layout import Turn, level_of
from xqueue_core.stored.records import Row


def upside_down(rows: Iterable[Row], limit: int, turn: Turn) -> tuple[list[Row], Turn]:
    """A planted bug of the broker: the lowest first."""
    return sorted(rows, key=lambda row: level_of(row.order))[:limit], turn


@pytest.mark.parametrize("embedded", [False, True])
def test_who_leases_the_lowest_first_is_found(embedded: bool) -> None:
    found = []
    for seed in range(1, 6):
        given = replace(plan(seed), embedded=embedded)
        with patch.object(leasing, "pick", upside_down):
            found += simulate(seed, given=given).violations
    assert [line for line in found if line.startswith("G7: ")]
