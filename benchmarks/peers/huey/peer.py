"""Huey: threads, results off."""

from __future__ import annotations

import logging

from huey import RedisHuey
from huey.consumer import Consumer

from benchmarks.peers.counted import Counted, main, variant


def made(url: str, counted: Counted | None = None) -> tuple[RedisHuey, object]:
    huey = RedisHuey("peer", url=f"{url}?max_connections=300", results=False)

    @huey.task()
    def noop() -> None:
        if counted:
            counted.ran()

    return huey, noop


def submit(url: str, count: int) -> None:
    """There is no bulk call that saves round trips: one by one."""
    _, noop = made(url)
    for _ in range(count):
        noop()


def work(url: str, counted: Counted) -> None:
    logging.disable(logging.INFO)
    huey, _ = made(url, counted)
    workers = int(variant() or "8")
    Consumer(huey, workers=workers, worker_type="thread", periodic=False).run()


main(submit, work)
