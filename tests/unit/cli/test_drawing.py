"""Tables on a terminal of some width."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from xqueue_core.cli.drawing import drawn
from xqueue_core.cli.output import Table

TODAY = "2030-01-31"
NOW, BEFORE = f"{TODAY}T09:00:00.123Z", "2030-01-30T09:00:00.123Z"
IDS = [f"0192f0e4-5b7c-7d3a-8f21-0c9d8e7f6a{n:02x}" for n in range(3)]
WORKER = "host.example-4711-0192f0e45b7c"
LONG = "a long text " * 10
COLUMNS = ("id", "state", "lane", "attempt", "accepted", "reason", "payload")

TASKS = Table(
    COLUMNS,
    [
        (IDS[0], "success", "warehouse", 1, NOW, "", '{"to": "you"}'),
        (IDS[1], "failed", "charge", 12, BEFORE, f"ValueError: {LONG}", f'{{"text": "{LONG}"}}'),
    ],
)
HISTORY = Table(
    ("attempt", "worker", "started", "ended", "how", "reason", "error"),
    [(1, WORKER, BEFORE, NOW, "lost", "worker_lost", ""), (2, WORKER, NOW, "", "runs", "", LONG)],
)
WORKERS = Table(
    ("worker", "is", "seen", "host", "pid", "slots", "running", "overdue", "lanes"),
    [(WORKER, "alive", "0.4 s ago", "host.example", "4711", 10, 2, 0, "charge mail warehouse")],
)


def lines(table: Table, width: int) -> list[str]:
    file = io.StringIO()
    console = Console(file=file, width=width)
    console.print(drawn(table, width, TODAY))
    return file.getvalue().splitlines()


@pytest.mark.parametrize("width", [80, 100, 120, 160, 250])
@pytest.mark.parametrize("table", [TASKS, HISTORY, WORKERS])
def test_ids_workers_and_times_are_never_folded_nor_cut(table: Table, width: int) -> None:
    shown = lines(table, width)
    assert max(map(len, shown)) <= width
    for row in table.rows:
        for name, value in zip(table.columns, row, strict=True):
            if name not in ("reason", "error", "payload", "lanes") and value:
                short = {NOW: "09:00:00Z", BEFORE: "2030-01-30T09:00:00Z"}.get(str(value), "")
                whole = [line for line in shown if str(value) in line or (short and short in line)]
                assert whole, (name, value, shown)


def test_free_text_is_what_shrinks() -> None:
    wide, narrow = lines(TASKS, 160), lines(TASKS, 125)
    assert len(wide) == len(narrow) == len(TASKS.rows) + 4
    assert NOW in "".join(wide)
    assert "ValueError:" in "".join(wide)
    assert "…" in "".join(wide)
    # Before that is of no use times are shorter: of today without the date.
    assert " 09:00:00Z " in "".join(narrow)
    assert " 2030-01-30T09:00:00Z " in "".join(narrow)


def test_what_does_not_fit_beside_the_ids_stands_below_them() -> None:
    shown = lines(TASKS, 80)
    at = next(n for n, line in enumerate(shown) if IDS[1] in line)
    assert shown[at].split()[1:] == ["failed", "charge", "12"]
    assert shown[at + 1] == "    accepted: 2030-01-30T09:00:00Z"
    [row] = [line for line in lines(TASKS, 89) if IDS[1] in line]
    assert row.split()[1:] == ["failed", "charge", "12", "2030-01-30T09:00:00Z"]
    assert [line[:20] for line in shown if line.startswith("    reason: ")] == [
        "    reason: ValueErr"
    ]
    assert all(line.endswith("…") for line in shown if "a long text" in line)


def test_lanes_are_folded_between_words() -> None:
    shown = lines(WORKERS, 104)
    assert len([line for line in shown if WORKER in line]) == 1
    for lane in ("charge", "mail", "warehouse"):
        assert sum(lane in line.split() for line in shown) == 1
