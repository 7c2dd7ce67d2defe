"""The tasks that are measured. The worker processes load this file.

The handlers count in the worker's process, as those of ``benchmarks.peers`` do: when the number
that the environment names have run, the worker prints its figures.
"""

from __future__ import annotations

import os

from benchmarks.peers.counted import Counted
from xqueue_core import XQueue

#: The environment's name for the number of tasks.
COUNT = "BENCH_COUNT"
#: Seconds that a ``brief`` task's result is kept.
KEPT = 60

app = XQueue()
counted = Counted(int(os.environ.get(COUNT, "0")), ends=False)


@app.task
async def noop() -> None:
    """Nothing, so that all the time is the queue's."""
    counted.ran()


@app.task(result_ttl=KEPT)
async def brief() -> None:
    """Nothing, and soon forgotten."""
    counted.ran()
