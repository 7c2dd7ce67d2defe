"""The arithmetic of the reports: medians with their spread, ratios to runs around, tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from statistics import median, quantiles


@dataclass(slots=True, frozen=True)
class Spread:
    """A figure over several runs."""

    median: float
    low: float
    high: float
    runs: int

    def as_json(self) -> dict[str, float]:
        """The same as plain values."""
        return asdict(self)

    def text(self, digits: int) -> str:
        """Median, and what the runs lay between."""
        low, mid, high = (f"{v:,.{digits}f}" for v in (self.low, self.median, self.high))
        return f"{mid} ({low} to {high})"


def spread(values: Sequence[float]) -> Spread:
    """Median, least and most. Raises ValueError for no values."""
    if not values:
        raise ValueError("no runs: a median needs one at least")
    return Spread(median(values), min(values), max(values), len(values))


def ratios(ours: Sequence[float], around: Sequence[float]) -> list[float]:
    """Each run as a share of the mean of the runs before and after it (A-B-A).

    Raises ValueError unless ``around`` has one run more than ``ours``, and none of nothing.
    """
    if len(around) != len(ours) + 1:
        raise ValueError(f"{len(ours)} runs need {len(ours) + 1} around them, not {len(around)}")
    if min(around) <= 0:
        raise ValueError("a run to compare with was 0: nothing can be a share of it")
    return [
        2 * one / (before + after)
        for one, (before, after) in zip(ours, pairwise(around), strict=True)
    ]


def rate(count: int, first_ns: int, last_ns: int) -> float:
    """Tasks per second between the first and the last of ``count`` moments.

    Raises ValueError for fewer than two tasks, or moments that are not in order.
    """
    if count < 2 or last_ns <= first_ns:
        raise ValueError(f"{count} tasks in {last_ns - first_ns} ns: nothing to take a rate of")
    return (count - 1) * 1e9 / (last_ns - first_ns)


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """p50, p95 and p99 of at least two values."""
    cuts = quantiles(values, n=100, method="inclusive")
    return {"p50": cuts[49], "p95": cuts[94], "p99": cuts[98]}


def gathered(runs: Sequence[Mapping[str, float]]) -> dict[str, list[float]]:
    """The values of each figure over all runs that have it, in the order of the first run."""
    figures: dict[str, list[float]] = {}
    for run in runs:
        for name, value in run.items():
            figures.setdefault(name, []).append(value)
    return figures


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows in columns, the first row as the head, the first column to the left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.rjust(width) if n else cell.ljust(width)
            for n, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])
