"""The tables at the end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from demo_parts.names import shown
from demo_parts.run import Row, Run
from demo_parts.screen import say

#: Files listed one by one: the largest.
LISTED = 10
#: Columns that the table needs beside the paths.
BESIDE = 54


@dataclass(slots=True, frozen=True)
class Timing:
    """What this invocation saw."""

    seconds: float
    rows: int
    peak: int
    limit: int
    workers: str


def percentile(values: Sequence[float], share: float) -> float:
    """The value that this share of the values does not exceed; 0 of none."""
    ordered = sorted(values)
    return ordered[max(0, ceil(share * len(ordered)) - 1)] if ordered else 0.0


def size(number: float) -> str:
    """Bytes for people."""
    for unit in ("B", "KiB", "MiB"):
        if number < 1024:
            return f"{number:.0f} B" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1024
    return f"{number:.1f} GiB"


def seconds(number: float) -> str:
    """A duration for people."""
    return f"{number * 1000:.0f} ms" if number < 1 else f"{number:.2f} s"


def print_largest(console: Console, run: Run) -> None:
    """The largest files, and what was found out about them."""
    done = [(row, row.digest) for row in run.rows.values() if row.digest is not None]
    done.sort(key=lambda one: (-one[1]["size"], one[0].path))
    if not done:
        return
    table = Table(
        title=f"the {min(LISTED, len(done))} largest of {len(done)} files",
        box=box.SIMPLE_HEAD,
        title_justify="left",
        pad_edge=False,
        collapse_padding=True,
    )
    table.add_column("file", no_wrap=True)
    for column in ("size", "lines", "entropy", "packed", "tries"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("sha256", no_wrap=True)
    for row, digest in done[:LISTED]:
        table.add_row(
            Text(_short(shown(_name(run, row)), console.width - BESIDE)),
            size(digest["size"]),
            f"{digest['lines']:,}",
            f"{digest['entropy']:.2f}",
            _ratio(digest["compressed"], digest["size"]),
            str(row.attempts),
            digest["sha256"][:8],
        )
    console.print(table)


def print_summary(console: Console, run: Run, timing: Timing) -> None:
    """Everything in numbers."""
    rows = list(run.rows.values())
    done = [row.digest for row in rows if row.digest is not None]
    total = sum(one["size"] for one in done)
    packed = sum(one["compressed"] for one in done)
    waited, ran = [row.waited for row in rows], [row.ran for row in rows]
    table = Table(title=f"run {run.id}", box=box.SIMPLE, title_justify="left", show_header=False)
    table.add_column(no_wrap=True)
    table.add_column()
    failed = len(rows) - len(done)
    speed = timing.rows / timing.seconds if timing.seconds else 0.0
    for name, value in (
        ("files", f"{len(done)} done, {failed} failed, {len(run.names)} in all"),
        ("bytes", f"{size(total)}, compressed to {size(packed)} ({_ratio(packed, total)})"),
        ("retries", _retries(run)),
        ("at one time", f"{timing.peak} at most (limit {timing.limit}), {timing.workers}"),
        ("duration", f"{seconds(timing.seconds)} for {timing.rows} files: {speed:.1f} tasks/s"),
        (
            "wait",
            f"p50 {seconds(percentile(waited, 0.5))}, p95 {seconds(percentile(waited, 0.95))}",
        ),
        ("run time", f"p50 {seconds(percentile(ran, 0.5))}, p95 {seconds(percentile(ran, 0.95))}"),
    ):
        table.add_row(name, Text(value))
    console.print(table)


def print_failures(console: Console, run: Run, unreadable: Sequence[str]) -> bool:
    """What was not done, and why. True if anything was not."""
    failed = [row for row in run.rows.values() if row.digest is None]
    for row in sorted(failed, key=lambda row: row.path):
        say(console, f"{row.state}: {shown(_name(run, row))}: {shown(row.error)}", "red")
    for text in unreadable:
        say(console, f"not looked into: {shown(text)}", "red")
    return bool(failed or unreadable)


def _retries(run: Run) -> str:
    """How often an attempt failed and another was made, and how many of these were our doing."""
    failures = [line for line in run.lines() if line["event"] == "failed"]
    injected = sum(line["error"].startswith("InjectedFault") for line in failures)
    retried = sum(row.attempts - 1 for row in run.rows.values())
    return f"{retried}, of them {injected} after an injected fault"


def _percentiles(values: Sequence[float]) -> str:
    return f"p50 {seconds(percentile(values, 0.5))}, p95 {seconds(percentile(values, 0.95))}"


def _ratio(part: int, whole: int) -> str:
    return f"{part / whole:.0%}" if whole else "-"


def _short(name: str, width: int) -> str:
    """A path that fits; its end says most."""
    width = max(width, 12)
    return name if len(name) <= width else f"…{name[1 - width :]}"


def _name(run: Run, row: Row) -> str:
    return row.path.removeprefix(f"{run.target.folder}/")
