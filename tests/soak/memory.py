"""The memory of a worker that drains a backlog of a million tasks which do nothing.

``python -m soak.memory [--tasks 1000000]``: submits all to SQLite, then one worker process
drains them. Prints its resident memory as it goes; the exit code is 1 if that grows by more than
50 MB between a tenth of the way and the end.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from soak import noop
from support.history.writer import now
from support.processes import Cli, cli
from xqueue_core.abc import TaskView
from xqueue_core.errors import BrokerError

BATCH = 5_000
ALLOWED = 50_000_000
#: Of all tasks: after so many the worker is warm.
WARM = 0.1


@dataclass(slots=True, frozen=True)
class Sample:
    """The worker's memory after so many tasks (bytes); ``own`` is without mapped files."""

    at: float
    done: int
    resident: int
    own: int

    def __str__(self) -> str:
        return (
            f"{self.at:7.1f} s  {self.done:>9,} tasks  "
            f"resident {self.resident / 1e6:6.1f} MB  own {self.own / 1e6:6.1f} MB"
        )


def memory(pid: int) -> tuple[int, int]:
    """What a process has resident, and how much of it is no mapped file (bytes)."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    fields = dict(line.split(":", 1) for line in lines)
    resident, own = (int(fields[name].split()[0]) * 1024 for name in ("VmRSS", "RssAnon"))
    return resident, own


async def drain(tasks: int, folder: Path, every: float) -> list[Sample]:
    """Submit, then drain; a sample every so many seconds."""
    url = f"sqlite:///{folder / 'memory.db'}"
    app, handler = noop.make(url)
    async with app:
        begun = now()
        for n in range(0, tasks, BATCH):
            await app.submit_many(handler.call() for _ in range(min(BATCH, tasks - n)))
        print(f"{tasks:,} tasks submitted in {now() - begun:.1f} s")
        with cli(url, folder / "log", "worker", "soak.noop:app") as worker:
            async with app.connect() as connection:
                samples = await _samples(worker, connection.faces.needed("view"), tasks, every)
            worker.send()
            assert await worker.ended() == 0, worker.log()
    return samples


async def _samples(worker: Cli, view: TaskView, tasks: int, every: float) -> list[Sample]:
    begun, samples, done = now(), [], 0
    while done < tasks:
        await asyncio.sleep(every)
        assert worker.process.poll() is None, worker.log()
        try:
            done = (await view.stats()).total().success
        except BrokerError:
            continue
        samples.append(Sample(now() - begun, done, *memory(worker.process.pid)))
        print(samples[-1], flush=True)
    return samples


def grown(samples: list[Sample], tasks: int) -> int:
    """Bytes between the first sample of the warm worker and the largest after it."""
    warm = [one.resident for one in samples if one.done >= WARM * tasks]
    return max(warm) - warm[0]


def main(arguments: list[str]) -> int:
    """Run by the command line's wishes; answers the exit code."""
    parser = argparse.ArgumentParser(prog="python -m soak.memory", description=__doc__)
    parser.add_argument("--tasks", type=int, default=1_000_000)
    parser.add_argument("--every", type=float, default=2.0, help="seconds between samples")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="xqueue-soak-") as folder:
        samples = asyncio.run(drain(given.tasks, Path(folder), given.every))
    growth = grown(samples, given.tasks)
    print(f"grown by {growth / 1e6:.1f} MB since warm, {ALLOWED / 1e6:.0f} MB are allowed")
    return 0 if growth <= ALLOWED else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
