"""A process that counts in a shared file: ``python -m ... FILE NAME TIMES``.

Each step raises the number in one row, and says so in a row and an event of its own.
"""

from __future__ import annotations

import asyncio
import sys

from xqueue_core.stored.records import Change, Group, Records
from xqueue_sqlite import SqliteRecords
from xqueue_sqlite.connection import FileOptions
from xqueue_sqlite.store import opened


async def step(records: Records, name: str, number: int) -> None:
    """Add one to the row "total", however often others get there first."""
    while True:
        (row,) = await records.load(["total"])
        old = int(row.body) if row else 0
        done = await records.swap(
            [
                Group(
                    [
                        Change("total", row.version if row else 0, b"%d" % (old + 1)),
                        Change(f"{name} {number:06}", 0, b"%d" % (old + 1), "steps", old + 1),
                    ],
                    [f"{name} {number}".encode()],
                    {"steps": 1},
                )
            ]
        )
        if done[0]:
            return


async def main(path: str, name: str, times: int) -> None:
    """Count, and print the number of each step that is durable."""
    async with opened(path, FileOptions(busy_timeout=30.0)) as store:
        records = SqliteRecords(store)
        print("open", flush=True)
        for number in range(times):
            await step(records, name, number)
            print(number, flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
