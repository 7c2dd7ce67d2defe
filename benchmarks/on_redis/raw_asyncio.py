"""The same limit by ``redis.asyncio``, on an event loop as the queue is: one by one, and pick-up.

``python -m benchmarks.on_redis.raw_asyncio single|clock|waits URL COUNT``, each in a process of its
own: ``waits`` prints the milliseconds of each entry that a ``clock`` beside it reads.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time

from redis import asyncio as redis

from benchmarks.on_redis.raw import ANSWERS, BLOCK, BODY, GROUP, READ, STREAM
from benchmarks.peers.counted import report

#: Seconds for an answer, and for the reader to wait again after it.
PATIENCE, REST = 30, 0.02


async def single(client: redis.Redis, count: int) -> None:
    """Add so many entries, each after the answer to the one before."""
    first, cpu = time.monotonic_ns(), time.process_time_ns()
    for _ in range(count):
        await client.xadd(STREAM, BODY)
    report(count, first, time.monotonic_ns(), (time.process_time_ns() - cpu) / 1e9)


async def clock(client: redis.Redis, count: int) -> None:
    """Answer so many entries with the moment at which each was read."""
    await client.rpush(ANSWERS, os.getpid())
    seen = 0
    while seen < count:
        streams = await client.xreadgroup(GROUP, "one", {STREAM: ">"}, READ, BLOCK)
        now = time.monotonic_ns()
        if entries := [entry for _, found in streams or () for entry, _ in found]:
            seen += len(entries)
            await client.xack(STREAM, GROUP, *entries)
            await client.rpush(ANSWERS, now)


async def waits(client: redis.Redis, count: int) -> None:
    """Print milliseconds from before each XADD to the moment the reader has it."""
    await answer(client)  # it is there
    waited = []
    for _ in range(count):
        await asyncio.sleep(REST)
        began = time.monotonic_ns()
        await client.xadd(STREAM, BODY)
        waited.append((await answer(client) - began) / 1e6)
    print(json.dumps(waited))


async def answer(client: redis.Redis) -> int:
    """The reader's next answer. Ends the process if none comes."""
    found = await client.blpop([ANSWERS], timeout=PATIENCE)
    if found is None:
        raise SystemExit(f"the raw reader has not answered within {PATIENCE} s")
    return int(found[1])


async def main() -> None:
    """Do what the command line says."""
    _, action, url, count = sys.argv
    # Its own limit on silence is below the time that a read may block.
    async with redis.Redis.from_url(url, socket_timeout=None) as client:
        if action == "clock":
            await client.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
        await {"single": single, "clock": clock, "waits": waits}[action](client, int(count))


if __name__ == "__main__":
    asyncio.run(main())
