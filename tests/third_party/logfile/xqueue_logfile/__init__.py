"""XQueue on a file of commits, one a line, which whoever writes appends under a lock."""

import asyncio
import fcntl
import os
import random
import time
from bisect import bisect_left, bisect_right, insort
from collections import ChainMap, Counter, defaultdict
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, closing, suppress
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

import msgspec
from pydantic import Field

from xqueue_core.abc import Backend, Faces, Role
from xqueue_core.calls import Capabilities
from xqueue_core.errors import ConfigError, Refused, Unavailable, Unknown
from xqueue_core.stored import Records, faces
from xqueue_core.stored.bell import PollingBell
from xqueue_core.stored.clock import Clock, host_clock
from xqueue_core.stored.records import ABSENT, ANY, Change, Group, Log, Now, Row, Scan
from xqueue_core.stored.settings import StoredSettings

PATIENCE = 5.0  # seconds to wait for another writer
NONE = Change("", ABSENT, None)  # in the place of a row that is not there


class Commit(NamedTuple):
    """One step, applied all or none. In the file: its CRC, then itself as JSON, and a newline."""

    changes: list[Change]  # ``expected`` is the row's version from now on
    counts: dict[str, int]
    log: list[tuple[int, float, list[bytes]]]  # (cursor, wall, events)
    cursor: int  # of the newest entry of the log, also if that was dropped
    trim: float = 0.0  # drop what was logged before

    def line(self) -> bytes:
        body = msgspec.json.encode(self)
        return b"%08x%b\n" % (crc32(body), body)


class LogRecords(Records):
    """Holds all rows in memory; makes the file small beyond ``slack`` outdated changes."""

    def __init__(self, path: Path, sync: bool, clock: Clock, slack: int = 10_000) -> None:
        self._path, self._sync, self._clock, self._slack = path.absolute(), sync, clock, slack
        try:
            path.parent.mkdir(exist_ok=True)
            self._lock = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
            self._open()
        except OSError as error:
            raise ConfigError(f"{path} cannot be opened: {error}") from error

    def _open(self) -> None:
        self._file = self._path.open("a+b", buffering=0)
        if self._sync:  # before anything is answered, its name is on the disk as well
            folder = os.open(self._path.parent, os.O_RDONLY)
            os.fsync(folder)
            os.close(folder)
        self._at = self._cursor = self._changes = 0
        self._rows: dict[str, Change] = {}
        self._lists: defaultdict[str | None, list[tuple[float, str]]] = defaultdict(list)
        self._counts: Counter[str] = Counter()
        self._log: list[tuple[int, float, list[bytes]]] = []

    def close(self) -> None:
        self._file.close()
        os.close(self._lock)

    def look(self) -> object:
        return os.stat(self._path)[:7]  # a commit changes the size, making it small the inode

    async def now(self) -> Now:
        return self._clock()

    async def load(self, keys: Sequence[str]) -> list[Row | None]:
        await self._look()
        return [Row._make(row[:5]) if row else None for row in map(self._rows.get, keys)]

    async def scan(self, scans: Sequence[Scan]) -> list[list[Row]]:
        await self._look()
        return [self._listed(scan.bucket, scan.after, scan.limit) for scan in scans]

    async def due(self, limit: int) -> tuple[list[Row], float | None]:
        await self._look()
        alarms, wall = self._lists[None], self._clock().wall
        passed = bisect_right(alarms, wall, key=lambda place: place[0])
        coming = alarms[passed][0] if passed < len(alarms) else None
        return self._listed(None, (float("-inf"), ""), min(passed, limit)), coming

    async def counts(self, prefix: str, after: str, limit: int) -> list[tuple[str, int]]:
        await self._look()
        named = (item for item in self._counts.items() if item[0].startswith(prefix))
        return sorted((name, count) for name, count in named if count and name > after)[:limit]

    async def log(self, after: int | None, limit: int) -> Log:
        await self._look()
        first = self._cursor + 1 - len(self._log)
        start = len(self._log) if after is None else max(after + 1 - first, 0)
        found = self._log[start : start + limit]
        return Log([(cursor, events) for cursor, _, events in found], first, self._cursor)

    async def trim(self, before: float) -> None:
        await self._look()
        if self._log and self._log[0][1] < before:
            async with self._alone():
                self._append(Commit([], {}, [], self._cursor, before))

    async def swap(self, groups: Sequence[Group]) -> list[bool]:
        after: dict[str, Change] = {}
        counts, events, verdicts = Counter[str](), list[bytes](), list[bool]()
        async with self._alone():  # and no await in it: nobody of this process comes in between
            rows = ChainMap(after, self._rows)
            for group in groups:
                pairs = [(one, rows.get(one.key, NONE).expected) for one in group.changes]
                verdicts.append(all(one.expected in (ANY, version) for one, version in pairs))
                if verdicts[-1]:
                    for one, version in pairs:  # that of a new row is one that it never had
                        made = 0 if one.body is None else (version or time.time_ns()) + 1
                        after[one.key] = one._replace(expected=made)
                    counts.update(group.counts)
                    events += group.events
            log = [(self._cursor + 1, self._clock().wall, events)] if events else []
            if after or counts or log:
                self._append(Commit([*after.values()], counts, log, self._cursor + len(log)))
        return verdicts

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        """Nobody else writes meanwhile, and everything is read that others wrote."""
        try:
            async with asyncio.timeout(PATIENCE):
                while True:
                    await self._look()  # closed, the number of the lock may be another file's
                    with suppress(BlockingIOError):
                        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                        break
                    await asyncio.sleep(random.uniform(0.0001, 0.001))
        except TimeoutError as error:
            raise Unavailable(f"{self._path} is locked by another process") from error
        try:
            if b"\n" in self._read()[:-1]:
                raise Refused(f"{self._path} is damaged at byte {self._at}: restore a backup")
            self._file.truncate(self._at)  # what a killed writer left behind
            yield
        except OSError as error:
            raise Unknown(f"{self._path}: {error}") from error
        finally:
            fcntl.flock(self._lock, fcntl.LOCK_UN)

    def _append(self, commit: Commit) -> None:
        if self._file.write(line := commit.line()) < len(line):
            raise Unavailable(f"{self._path}: the disk is full")  # half a line does not count
        self._read()
        if self._changes > self._slack + 3 * len(self._rows):
            self._make_small()

    def _make_small(self) -> None:
        counts = {name: count for name, count in self._counts.items() if count}
        state = Commit([*self._rows.values()], counts, self._log, self._cursor)
        new = self._path.with_suffix(".new")
        with suppress(OSError), open(new, "wb") as file:  # else at the next swap
            file.write(state.line())
            file.flush()
            os.fsync(file.fileno())
            new.replace(self._path)

    async def _look(self) -> None:
        await asyncio.sleep(0)  # a caller in a loop lets others have their turn
        if self._file.closed:
            raise Refused(f"{self._path} is closed")
        try:
            self._read()
        except OSError as error:
            raise Unavailable(f"{self._path}: {error}") from error

    def _read(self) -> bytes:
        """Take in the commits that are new, and return what is behind the last whole one."""
        if not os.path.samestat(os.stat(self._path), os.fstat(self._file.fileno())):
            self._file.close()
            self._open()  # it was made small
        self._file.seek(self._at)
        data, start = self._file.read(), 0
        while end := data.find(b"\n", start) + 1:
            if b"%08x" % crc32(body := data[start + 8 : end - 1]) != data[start : start + 8]:
                break
            self._apply(msgspec.json.decode(body, type=Commit))
            start = end
        if start and self._sync:  # whoever wrote it may have died before it was on the disk
            os.fdatasync(self._file.fileno())
        self._at += start
        return data[start:]

    def _apply(self, commit: Commit) -> None:
        for change in commit.changes:
            for name, place in _places(self._rows.pop(change.key, NONE)):
                del self._lists[name][bisect_left(self._lists[name], place)]
            if change.body is not None:
                self._rows[change.key] = change
                for name, place in _places(change):
                    insort(self._lists[name], place)
        self._counts.update(commit.counts)
        del self._log[: len([*takewhile(lambda entry: entry[1] < commit.trim, self._log)])]
        self._log += commit.log
        self._cursor = commit.cursor
        self._changes += len(commit.changes) + 1

    def _listed(self, name: str | None, after: tuple[float, str], limit: int) -> list[Row]:
        start = bisect_right(self._lists[name], after)
        places = self._lists[name][start : start + limit]
        return [Row._make(self._rows[key][:5]) for _, key in places]


def _places(row: Change) -> Iterator[tuple[str | None, tuple[float, str]]]:
    """Where a row is listed: in its bucket, and among the alarms (None)."""
    if row.bucket:
        yield row.bucket, (row.order, row.key)
    if row.alarm is not None:
        yield None, (row.alarm, row.key)


class LogSettings(StoredSettings):
    """``logfile:///relative-folder`` or ``logfile:////absolute/folder``."""

    path: str = Field("xqueue-log", min_length=1, description="The folder of the files.")


class LogBackend(Backend):
    """One file for each namespace, whose processes all see the same."""

    Settings = LogSettings

    def __init__(self, clock: Clock = host_clock) -> None:
        self._clock = clock

    def capabilities(self, settings: LogSettings) -> Capabilities:
        return Capabilities(shared=True, durable=True, dedupe_horizon=settings.dedupe_horizon)

    @asynccontextmanager
    async def open(self, settings: LogSettings, role: Role = Role.CLIENT) -> AsyncIterator[Faces]:
        path = Path(settings.path, f"{settings.namespace}.log")
        with closing(LogRecords(path, settings.durability == "power", self._clock)) as records:
            bell, able = PollingBell(records.look), self.capabilities(settings)
            yield faces(records, bell, settings.options(), able)
