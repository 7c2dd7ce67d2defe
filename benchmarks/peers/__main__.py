"""``python -m benchmarks.peers [NAME ...]``: other task queues, beside the raw client's limit."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from benchmarks import plot
from benchmarks.figures import gathered, ratios, spread, table
from benchmarks.on_redis import ours, rounds
from benchmarks.on_redis.__main__ import about
from benchmarks.on_redis.server import PERSISTENCE, Server, server
from benchmarks.peers import environments
from benchmarks.peers.catalogue import FAST, PEERS, Peer
from benchmarks.programs import ProgramFailed, Run, run
from xqueue_core.plugins import BACKENDS, list_plugins

#: The queue itself takes its turn like a peer.
OURS = Peer("xqueue", "", FAST)
#: Seconds that a drain is to last, unless it has as many tasks as the fast ones.
LONG = 15


def main() -> int:
    """Measure all, in turn; print a table, and write JSON and plot where asked for."""
    options = arguments().parse_args()
    everything = {peer.name: peer for peer in (*backend(), *PEERS)}
    if unknown := set(options.names) - set(everything):
        raise SystemExit(f"{', '.join(sorted(unknown))}: not one of {', '.join(everything)}")
    chosen = [everything[name] for name in options.names or everything]
    absent = missing(chosen)
    chosen = [peer for peer in chosen if peer.name not in absent]
    if options.install:
        return bool(absent)
    with server(options.url, options.persistence) as found:
        results = measured(found, chosen, options, absent)
        report = {**about(), **found.about(), "absent": absent, "peers": results}
    show(report)
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n")
    if options.plot:
        drains = {name: spread(one["drain"]) for name, one in results.items()}
        order = sorted(drains, key=lambda name: -drains[name].median)
        title = f"No-op tasks drained by one worker, persistence: {report['persistence']}"
        chart = plot.bars(title, "tasks per second", {name: drains[name] for name in order})
        options.plot.write_text(chart)
    return bool(absent)


def arguments() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument("names", nargs="*", help="which; default all")
    parser.add_argument("--url", help="an empty database of a server; by default one is started")
    parser.add_argument("--persistence", choices=PERSISTENCE, default="none")
    parser.add_argument("--runs", type=int, default=5, help="runs of each")
    parser.add_argument("--count", type=int, help="tasks of each run; default as each needs")
    parser.add_argument("--install", action="store_true", help="make the environments alone")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--plot", type=Path, help="draw the drains into this SVG file")
    return parser


def backend() -> list[Peer]:
    """The queue, if it has a backend for Redis."""
    return [OURS] if any(one.name == "redis" for one in list_plugins(BACKENDS)) else []


def missing(chosen: list[Peer]) -> dict[str, str]:
    """Make the environments; what cannot be installed, and why."""
    absent = {} if backend() else {OURS.name: "no backend for redis:// is installed"}
    for peer in chosen:
        if peer is not OURS:
            print(f"{peer.name}: environment", file=sys.stderr, flush=True)
            try:
                environments.ready(peer)
            except environments.NotInstalled as error:
                absent[peer.name] = str(error)
    return absent


def measured(
    found: Server, chosen: list[Peer], options: argparse.Namespace, absent: dict[str, str]
) -> dict[str, dict[str, list[float]]]:
    """Figures by peer and name. The raw client takes its turn between any two peers.

    A peer that fails takes no further part; ``absent`` then says why.
    """
    runs: dict[str, list[dict[str, float]]] = {}
    before = raw(found, options.count or FAST)
    limits = [before]
    for number in range(options.runs):
        for peer in chosen:
            if peer.name in absent:
                continue
            print(f"{peer.name}: run {number + 1}", file=sys.stderr, flush=True)
            try:
                one = turn(found, peer, options.count or peer.count)
            except (ProgramFailed, ValueError) as error:
                absent[peer.name] = str(error)
                continue
            after = raw(found, options.count or FAST)
            one["of raw"] = ratios([one["drain"]], [before["drain"], after["drain"]])[0]
            runs.setdefault(peer.name, []).append(one)
            limits.append(before := after)
    return {"raw": gathered(limits), **{name: gathered(all_) for name, all_ in runs.items()}}


def raw(found: Server, count: int) -> dict[str, float]:
    """What redis-py alone does for as many tasks as the fast ones get."""
    found.empty()
    submit = rounds.raw_program(found, "submit", count)
    before = found.cpu()
    drain = rounds.raw_program(found, "worker", count)
    return figures(submit, drain, found.cpu() - before)


def turn(found: Server, peer: Peer, count: int) -> dict[str, float]:
    """One run of one peer, on an empty database. Raises ProgramFailed."""
    found.empty()
    if peer is OURS:
        url = found.queue_url()
        env = ours.environ(url, count)
        submitting, working = ours.program("submit", url, count), ours.worker("--burst")
    else:
        env = environments.environ()
        submitting = environments.command(peer, "submit", found.url, count)
        working = environments.command(peer, "worker", found.url, count)
    submit = run(submitting, env, rounds.PATIENCE)
    before = found.cpu()
    drain = run(working, env, rounds.PATIENCE)
    return figures(submit, drain, found.cpu() - before)


def figures(submit: Run, drain: Run, redis_cpu: float) -> dict[str, float]:
    """What the table shows of one run."""
    return {
        "drain": drain.rate,
        "seconds": drain.seconds,
        "tasks": drain.count,
        "worker cpu": drain.cpu_us,
        "redis cpu": redis_cpu * 1e6 / drain.count,
        "submit": submit.rate,
    }


def show(report: dict[str, Any]) -> None:
    """Print a line for each peer, and a line for each that is not there."""
    head = ("", "drain, tasks/s", "of raw", "worker us", "redis us", "submit, tasks/s", "tasks")
    rows = [head]
    short = []
    for name, one in report["peers"].items():
        by = {key: spread(values) for key, values in one.items()}
        share = by["of raw"].text(3) if "of raw" in by else ""
        cpu = [by[key].text(1) for key in ("worker cpu", "redis cpu")]
        tasks = f"{by['tasks'].median:,.0f}"
        rows.append((name, by["drain"].text(0), share, *cpu, by["submit"].text(0), tasks))
        if by["seconds"].low < LONG and by["tasks"].low < FAST:
            short.append(f"{name} drained in {by['seconds'].low:.1f} s only")
    print(f"\nRedis {report['redis']}, persistence: {report['persistence']}\n{table(rows)}")
    print("".join(f"short: {line}\n" for line in short), end="")
    print("".join(f"absent: {name}: {why}\n" for name, why in report["absent"].items()), end="")


if __name__ == "__main__":
    sys.exit(main())
