"""``python -m benchmarks.on_redis``: the raw client's limit on Redis, and the queue beside it."""

from __future__ import annotations

import argparse
import json
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks import limits, plot
from benchmarks.figures import Spread, gathered, ratios, spread, table
from benchmarks.on_redis import memory, rounds
from benchmarks.on_redis.server import PERSISTENCE, Server, server
from xqueue_core.plugins import BACKENDS, list_plugins

RATES = ("submit", "single", "drain")
#: The queue is awaited on its caller's loop, so it stands beside what a loop costs anybody, too.
ON_A_LOOP = "single (asyncio)"
UNITS = {
    **dict.fromkeys(("p50", "p95", "p99", "p50 (asyncio)"), "ms"),
    **dict.fromkeys(("submit cpu", "single cpu", "worker cpu", "redis cpu"), "us/task"),
    "single cpu (asyncio)": "us/task",
}


def main() -> int:
    """Measure; print tables, and write JSON and plot where asked for."""
    options = arguments().parse_args()
    report: dict[str, Any] = about()
    for persistence in options.persistence or (["as given"] if options.url else PERSISTENCE):
        with server(options.url, persistence, options.server) as found:
            report[persistence] = measured(found, options)
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n")
    return 0


def arguments() -> argparse.ArgumentParser:
    """The options. The default is what is done in some minutes."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.on_redis", description=__doc__)
    parser.add_argument("--url", help="an empty database of a server; by default one is started")
    parser.add_argument("--server", metavar="KIND", help="redis7, redis8 or valkey, as tests do")
    parser.add_argument("--persistence", action="append", choices=PERSISTENCE, help="default both")
    parser.add_argument("--count", type=int, default=200_000, help="tasks of each run")
    parser.add_argument("--single", type=int, default=5_000, help="tasks submitted one by one")
    parser.add_argument("--samples", type=int, default=50, help="pick-ups of each run")
    parser.add_argument("--runs", type=int, default=5, help="runs of the queue")
    parser.add_argument("--limits", type=int, metavar="COUNT", help="what limits cost, COUNT tasks")
    parser.add_argument("--memory", type=int, metavar="COUNT", help="memory over COUNT tasks")
    parser.add_argument("--raw", action="store_true", help="the raw client alone")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--plot", type=Path, help="draw the drains into this SVG file")
    return parser


def about() -> dict[str, Any]:
    """What the figures depend on."""
    about: dict[str, Any] = {"python": platform.python_version(), "machine": platform.machine()}
    for package in ("redis", "hiredis"):
        try:
            about[f"client {package}"] = version(package)
        except PackageNotFoundError:
            about[f"client {package}"] = "not installed"
    return about


def measured(found: Server, options: argparse.Namespace) -> dict[str, Any]:
    """All that is asked for, on one server."""
    queue = not options.raw and any(one.name == "redis" for one in list_plugins(BACKENDS))
    if not queue and not options.raw:
        print("no backend for redis:// is installed: the raw client's limit alone")
    size = rounds.Size(options.count, options.single, options.samples)
    figures = series(found, size, options.runs, queue)
    report: dict[str, Any] = {**found.about(), "figures": figures}
    show(found, {name: spread(values) for name, values in figures.items()})
    if queue and options.limits:
        report["limits"] = limited(found, options.limits, options.runs)
    if queue and options.memory:
        report["memory"] = memory.measured(found, options.memory)
        print("\n".join(f"  {name:16} {mb:8.1f} MB" for name, mb in report["memory"].items()))
    if options.plot:
        drawn(options.plot, found.persistence, figures)
    return report


def series(found: Server, size: rounds.Size, runs: int, queue: bool) -> dict[str, list[float]]:
    """Figures by name over all runs: the raw client's, the queue's, and the shares of raw."""
    raw = [rounds.raw_round(found, size)]
    ours = []
    for _ in range(runs):
        if queue:
            ours.append(rounds.our_round(found, size))
        raw.append(rounds.raw_round(found, size))
    limit, figures = gathered(raw), gathered(ours)
    shares = {f"{name} of raw": ratios(figures[name], limit[name]) for name in RATES if ours}
    if ours:
        shares[f"{ON_A_LOOP} of raw"] = ratios(figures["single"], limit[ON_A_LOOP])
    return {**{f"raw {name}": values for name, values in limit.items()}, **figures, **shares}


def show(found: Server, figures: dict[str, Spread]) -> None:
    """Print medians with their spread."""
    rows = [("", "median (least to most)", "unit", "runs")]
    for name, figure in figures.items():
        unit = UNITS.get(name.removeprefix("raw "), "" if name.endswith("of raw") else "tasks/s")
        digits = 0 if unit == "tasks/s" else 2
        rows.append((name, figure.text(digits), unit, str(figure.runs)))
    about = found.about()
    print(
        f"\nRedis {about['redis']}, persistence: {about['persistence']}\n{table(rows)}", flush=True
    )


def limited(found: Server, count: int, runs: int) -> dict[str, dict[str, list[float]]]:
    """What limits cost: the same tasks with and without, in turn."""

    def broker(_: Path) -> str:
        found.empty()
        return found.queue_url()

    report = {}
    for name, comparison in limits.COMPARISONS.items():
        report[name] = limits.series(comparison, count, runs, broker)
        limits.show(name, report[name])
    return report


def drawn(path: Path, persistence: str, figures: dict[str, list[float]]) -> None:
    """Draw rates; the persistence becomes part of the file's name."""
    path = path.with_stem(f"{path.stem}-{persistence.replace(' ', '-')}")
    wanted = [prefix + name for name in RATES for prefix in ("raw ", "")]
    shown = {name: spread(figures[name]) for name in wanted if name in figures}
    path.write_text(plot.bars(f"Redis, persistence: {persistence}", "tasks per second", shown))


if __name__ == "__main__":
    sys.exit(main())
