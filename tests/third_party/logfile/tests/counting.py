"""A process that counts in a shared file: ``python counting.py FOLDER NAME TIMES SLACK``.

Each step raises the number in one row, and says so in a row, a count and an event. What was
answered is printed, so that whoever kills this process knows what must be there.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from xqueue_core.stored.clock import host_clock
from xqueue_core.stored.records import Change, Group, Records

sys.path.insert(0, str(Path(__file__).parents[1]))


async def step(records: Records, name: str, number: int) -> int:
    """Add one to the row "total", however often others get there first; the new total."""
    while True:
        [row] = await records.load(["total"])
        total = int(row.body) + 1 if row else 1
        changes = [
            Change("total", row.version if row else 0, b"%d" % total),
            Change(f"{name} {number:06}", 0, b"%d" % total * 50, "steps", total),
        ]
        if (await records.swap([Group(changes, [b"%d" % total], {"steps": 1})]))[0]:
            return total


async def main(folder: str, name: str, times: int, slack: int) -> None:
    """Count."""
    from xqueue_logfile import LogRecords  # type: ignore[import-not-found, unused-ignore]

    records = LogRecords(Path(folder) / "test.log", False, host_clock, slack)
    for number in range(times):
        print(await step(records, name, number), flush=True)
    records.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
