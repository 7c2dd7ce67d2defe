"""RQ: its one worker without a fork for each job, one job at a time; results dropped at once."""

from __future__ import annotations

import sys

from redis import Redis
from rq import Queue, SimpleWorker

from benchmarks.peers.counted import Counted, chunks, main

counted: Counted | None = None


def noop() -> None:
    if counted:
        counted.ran()


def submit(url: str, count: int) -> None:
    queue = Queue(connection=Redis.from_url(url))
    for size in chunks(count, 500):
        queue.enqueue_many([Queue.prepare_data("peer.noop", result_ttl=0) for _ in range(size)])


def work(url: str, counting: Counted) -> None:
    global counted
    counted = counting
    sys.modules["peer"] = sys.modules[__name__]
    connection = Redis.from_url(url)
    worker = SimpleWorker([Queue(connection=connection)], connection=connection)
    worker.log_result_lifespan = False
    worker.work(logging_level="WARNING")


main(submit, work)
