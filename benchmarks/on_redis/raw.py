"""The raw limit: what redis-py alone needs for the same tasks on a Redis stream.

An entry is added for each task, then read by a consumer group in batches of 100 and acknowledged:
at least once, and nothing else. No dedupe, events, counts, history, results, retries or fences.

``python -m benchmarks.on_redis.raw submit|single|worker|clock URL COUNT``, each in a process of its
own; the first three print what the programs of ``benchmarks.peers`` print.
"""

from __future__ import annotations

import os
import sys
import time
from typing import Any

import redis

from benchmarks.peers.counted import Counted, chunks, report

STREAM, GROUP, ANSWERS = "raw", "raw", "raw:answers"
#: Entries of one pipeline, and of one read.
SUBMIT, READ = 500, 100
BODY: dict[Any, Any] = {"body": b"x" * 200}
#: Milliseconds that a read waits for an entry.
BLOCK = 5_000


def made(client: redis.Redis) -> None:
    """Make stream and group, if they are not there."""
    try:
        client.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
    except redis.ResponseError as error:
        if "BUSYGROUP" not in str(error):
            raise


def submit(client: redis.Redis, count: int) -> None:
    """Add so many entries, in pipelines."""
    for size in chunks(count, SUBMIT):
        with client.pipeline(transaction=False) as pipe:
            for _ in range(size):
                pipe.xadd(STREAM, BODY)
            pipe.execute()


def single(client: redis.Redis, count: int) -> None:
    """Add so many entries, each after the answer to the one before."""
    for _ in range(count):
        client.xadd(STREAM, BODY)


def read(client: redis.Redis) -> list[tuple[bytes, Any]]:
    """Wait for entries, not for ever: id and fields of each."""
    streams: Any = client.xreadgroup(GROUP, "one", {STREAM: ">"}, READ, BLOCK)
    return [entry for _, entries in streams or () for entry in entries]


def noop() -> None:
    """The handler."""


def worker(client: redis.Redis, count: int) -> None:
    """Read, handle and acknowledge so many entries; ends the process."""
    counted = Counted(count)
    while True:
        entries = read(client)
        for _ in entries[1:]:
            noop()
            counted.ran()
        if entries:
            noop()
            client.xack(STREAM, GROUP, *(entry for entry, _ in entries))
            counted.ran()  # after the acknowledgement, which is part of the work


def clock(client: redis.Redis, count: int) -> None:
    """Answer so many entries with the moment at which each was read."""
    client.rpush(ANSWERS, os.getpid())
    seen = 0
    while seen < count:
        entries = read(client)
        now = time.monotonic_ns()
        if entries:
            seen += len(entries)
            client.xack(STREAM, GROUP, *(entry for entry, _ in entries))
            client.rpush(ANSWERS, now)


def main() -> None:
    """Do what the command line says."""
    _, action, url, count = sys.argv
    with redis.Redis.from_url(url) as client:
        made(client)
        if action in {"worker", "clock"}:
            {"worker": worker, "clock": clock}[action](client, int(count))
            return
        first, cpu = time.monotonic_ns(), time.process_time_ns()
        {"submit": submit, "single": single}[action](client, int(count))
        report(int(count), first, time.monotonic_ns(), (time.process_time_ns() - cpu) / 1e9)


if __name__ == "__main__":
    main()
