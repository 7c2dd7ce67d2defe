"""Processes that get in the way of a database: ``python sqlite_child.py WHAT FILE``."""

from __future__ import annotations

import asyncio
import gc
import os
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from support.stores import make
from xqueue_core.errors import XQueueError
from xqueue_sqlite import SqliteRecords
from xqueue_sqlite.connection import FileOptions
from xqueue_sqlite.store import opened


def say(text: object) -> None:
    """Tell the test."""
    print(text, flush=True)


async def use(path: str) -> None:
    """Open the file and write to it; say the error, or "fine"."""
    try:
        async with opened(path, FileOptions(busy_timeout=1.0)) as store:
            await SqliteRecords(store).swap([make(f"from {os.getpid()}")])
        say("fine")
    except XQueueError as error:
        say(f"{type(error).__name__}: {error}")


def nobody(path: str) -> None:
    """Use the file as a user who may do little."""
    if os.getuid() == 0:
        os.setgroups([])
        os.setresgid(65534, 65534, 65534)
        os.setresuid(65534, 65534, 65534)
    asyncio.run(use(path))


def few_files(path: str) -> None:
    """Use the file with no room for more open files."""
    import resource

    used = len(os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + 4, used + 4))
    asyncio.run(use(path))


def lock(path: str) -> None:
    """Keep a writing transaction open until the input ends."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        say("locked")
        sys.stdin.read()
        connection.execute("ROLLBACK")


def exclude(path: str) -> None:
    """Keep everybody out of the file, even those that would read, until the input ends."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("BEGIN EXCLUSIVE")
        say("excluded")
        sys.stdin.read()
        connection.execute("ROLLBACK")


def fork(path: str) -> None:
    """Fork with the file open, and use it in both."""
    loop = asyncio.new_event_loop()
    context = opened(path, FileOptions())
    store = loop.run_until_complete(context.__aenter__())
    records = SqliteRecords(store)
    loop.run_until_complete(records.swap([make("parent")]))
    child = os.fork()
    if child == 0:
        held = _handles(path)  # SQLite's knowledge of locks goes with what is open
        asyncio.run(_inherit(records))
        asyncio.run(store.close())
        del store, records, context
        gc.collect()
        say(f"child holds {held}, then {_handles(path)}")
        asyncio.run(use(path))
        sys.exit(0)
    _, status = os.waitpid(child, 0)
    assert status == 0, status
    assert loop.run_until_complete(records.swap([make("parent again")])) == [True]
    loop.run_until_complete(context.__aexit__(None, None, None))
    loop.close()
    say("parent done")


async def _inherit(records: SqliteRecords) -> None:
    for call in (records.swap([make("child")]), records.load(["parent"])):
        try:
            await call
        except XQueueError as error:
            say(f"{type(error).__name__}: {error}")


def _handles(path: str) -> int:
    links = (os.path.join("/proc/self/fd", name) for name in os.listdir("/proc/self/fd"))
    return sum(Path(link).resolve() == Path(path).resolve() for link in links)


if __name__ == "__main__":
    modes: list[Callable[[str], None]] = [nobody, few_files, lock, exclude, fork]
    next(mode for mode in modes if mode.__name__ == sys.argv[1])(sys.argv[2])
