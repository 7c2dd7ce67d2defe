"""Memory over many tasks: does the worker grow, and is Redis as small as before in the end?"""

from __future__ import annotations

import selectors
import subprocess
import time
from pathlib import Path

from benchmarks.on_redis import ours
from benchmarks.on_redis.jobs import KEPT
from benchmarks.on_redis.server import Server
from benchmarks.programs import ProgramFailed, run

#: Seconds that events and ids are remembered here, and that upkeep may be late.
REMEMBERED, MARGIN = 60, 60
#: Seconds that the submit may take.
PATIENCE = 1_800
MB = 1e6


def measured(server: Server, count: int) -> dict[str, float]:
    """Submit and drain ``count`` tasks, then wait until all is forgotten; megabytes.

    The worker stays until the end: whatever is removed by upkeep needs one.
    """
    url = server.queue_url()
    env = {
        **ours.environ(url, count),
        "XQUEUE_EVENT_RETENTION": str(REMEMBERED),
        "XQUEUE_DEDUPE_HORIZON": str(REMEMBERED),
    }
    server.empty()
    figures = {"redis before": server.memory() / MB}
    run(ours.program("brief", url, count), env, PATIENCE)
    figures["redis submitted"] = server.memory() / MB
    worker = subprocess.Popen(ours.worker(), env=env, stdout=subprocess.PIPE, text=True)
    try:
        early, late = grown(worker)
        figures["redis drained"] = server.memory() / MB
        time.sleep(KEPT + REMEMBERED + MARGIN)
        figures["redis forgotten"] = server.memory() / MB
        return {**figures, "worker early": early, "worker late": late}
    finally:
        worker.terminate()
        worker.wait(timeout=120)


def grown(worker: subprocess.Popen[str]) -> tuple[float, float]:
    """Megabytes of the worker's memory: after a tenth of the drain's time, and at its end.

    Raises ProgramFailed if the worker ends before it has printed its figures.
    """
    sizes: list[float] = []
    output = worker.stdout
    assert output is not None
    # It prints one line, when the last task has run.
    with selectors.DefaultSelector() as selector:
        selector.register(output, selectors.EVENT_READ)
        while not selector.select(timeout=0.5):
            sizes.append(resident(worker.pid))
    if not output.readline():
        raise ProgramFailed(f"the worker ended with exit code {worker.wait(timeout=60)}")
    sizes.append(resident(worker.pid))
    return sizes[len(sizes) // 10], sizes[-1]


def resident(pid: int) -> float:
    """Megabytes of memory that a process has in RAM."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024 / MB
    return 0.0  # it has ended
