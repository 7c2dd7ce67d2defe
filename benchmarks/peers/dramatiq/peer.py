"""dramatiq: one worker process, threads by variant; no results, its default middleware."""

from __future__ import annotations

import threading

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from benchmarks.peers.counted import Counted, main, variant


def made(url: str, counted: Counted | None = None) -> tuple[RedisBroker, dramatiq.Actor]:
    broker = RedisBroker(url=f"{url}?max_connections=300")
    dramatiq.set_broker(broker)

    @dramatiq.actor
    def noop() -> None:
        if counted:
            counted.ran()

    return broker, noop


def submit(url: str, count: int) -> None:
    """There is no bulk call: one by one."""
    _, noop = made(url)
    for _ in range(count):
        noop.send()


def work(url: str, counted: Counted) -> None:
    broker, _ = made(url, counted)
    dramatiq.Worker(broker, worker_threads=int(variant() or "8")).start()
    threading.Event().wait()


main(submit, work)
