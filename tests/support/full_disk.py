"""A process whose files may not grow beyond a limit, as on a disk that is full.

``python -m support.full_disk STORY PATH``; what it finds out is printed as JSON.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
from typing import Any

from support.stores import make
from xqueue_core.errors import BrokerError, Unknown
from xqueue_core.stored.clock import host_clock
from xqueue_core.stored.records import Change, Group, Scan
from xqueue_sqlite import SqliteRecords
from xqueue_sqlite.connection import FileOptions
from xqueue_sqlite.place import MOUNTS
from xqueue_sqlite.store import opened

#: Largest file in bytes while the disk is full.
LIMIT = 1_000_000
#: A body of which each needs a page of its own.
PAGE = bytes(3_000)


def limit(size: int) -> None:
    """Let no file of this process grow beyond so many bytes; -1 lifts that."""
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most if size < 0 else size, most))


async def keys(records: SqliteRecords) -> list[str]:
    """The keys of all rows, in order."""
    (rows,) = await records.scan([Scan("b", 100_000)])
    return [row.key for row in rows]


async def filled(records: SqliteRecords) -> tuple[list[str], list[str], BrokerError]:
    """Write until there is no room: what was accepted, what is not known, and the error."""
    accepted: list[str] = []
    while True:
        names = [f"{len(accepted) + number:06}" for number in range(5)]
        groups = [Group([Change(name, 0, PAGE, "b")], [b"e"], {"n": 1}) for name in names]
        try:
            await records.swap(groups)
        except BrokerError as error:
            return accepted, names if isinstance(error, Unknown) else [], error
        accepted += names


async def fill(path: str) -> dict[str, Any]:
    """Fill the disk, look at what is there, make room and write on."""
    limit(LIMIT)
    async with opened(path, FileOptions(busy_timeout=0.3), host_clock, MOUNTS) as store:
        records = SqliteRecords(store)
        accepted, unknown, error = await filled(records)
        found = await keys(records)
        log = await records.log(0, 100_000)
        limit(-1)
        written = await records.swap([make("more", b"x", "b", 1)])
        return {
            "accepted": accepted,
            "unknown": unknown,
            "error": str(error),
            "found": found,
            "counted": await records.counts("", "", 9),
            "events": sum(len(events) for _, events in log.entries),
            "written": written,
            "after": await keys(records),
        }


async def open_(path: str) -> dict[str, Any]:
    """Open a store where there is no room for one."""
    limit(4_096)
    try:
        async with opened(path, FileOptions(busy_timeout=0.3), host_clock, MOUNTS):
            return {"error": "", "type": "none"}
    except Exception as error:
        return {"error": str(error), "type": type(error).__name__}


if __name__ == "__main__":
    story = {"fill": fill, "open": open_}[sys.argv[1]]
    print(json.dumps(asyncio.run(story(sys.argv[2]))))
