"""``python -m benchmarks``: submit, drain and pick-up on SQLite, beside the raw client's limit."""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import sqlite3
import sys
import tempfile
from pathlib import Path
from statistics import median

from benchmarks import raw


def main() -> int:
    """Run the benchmarks; print a table, and JSON where asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--count", type=int, default=30_000, help="tasks of each run")
    parser.add_argument("--samples", type=int, default=200, help="pick-ups of each run")
    parser.add_argument("--runs", type=int, default=5, help="runs of each kind")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    report = {}
    for durability in ("process", "power"):
        report[durability] = asyncio.run(series(durability, options))
        show(durability, report[durability])
    if options.json:
        about = {"python": platform.python_version(), "sqlite": sqlite3.sqlite_version}
        options.json.write_text(json.dumps({**about, **report}, indent=2) + "\n")
    return 0


async def series(durability: str, options: argparse.Namespace) -> dict[str, list[float]]:
    """The figures of all runs; queue and raw client take turns, so drift hits both alike."""
    figures: dict[str, list[float]] = {}
    for _ in range(options.runs):
        with tempfile.TemporaryDirectory() as folder:
            url = f"sqlite:///{folder}/bench.db"
            ours = await one(url, durability, options)
            limit = raw.measured(Path(folder, "raw.db"), durability, options.count)
        for name, value in ours.items():
            figures.setdefault(name, []).append(value)
        for name, value in limit.items():
            figures.setdefault(f"raw {name}", []).append(value)
            figures.setdefault(f"{name} of raw", []).append(ours[name] / value)
    return figures


async def one(url: str, durability: str, options: argparse.Namespace) -> dict[str, float]:
    """One run in a process of its own, so that no run inherits another's connections."""
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.queueing", url, durability),
        *(str(options.count), str(options.samples)),
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await child.communicate()
    if child.returncode:
        raise SystemExit(f"a run ended with exit code {child.returncode}")
    figures: dict[str, float] = json.loads(out)
    return figures


UNITS = {"p50": "ms", "p95": "ms", "p99": "ms"}


def show(durability: str, figures: dict[str, list[float]]) -> None:
    """Print medians with their spread."""
    print(f'\nSQLite {sqlite3.sqlite_version}, durability "{durability}"')
    for name, values in figures.items():
        unit = UNITS.get(name, "" if name.endswith("of raw") else "tasks/s")
        digits = 0 if unit == "tasks/s" else 2
        low, mid, high = (f"{v:,.{digits}f}" for v in (min(values), median(values), max(values)))
        print(f"  {name:14} {mid:>9} {unit:8} ({low} to {high}, {len(values)} runs)")


if __name__ == "__main__":
    sys.exit(main())
