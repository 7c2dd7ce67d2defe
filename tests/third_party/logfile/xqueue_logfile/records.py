"""``Records`` on a file of commits, one a line, which whoever writes appends under a lock."""

import asyncio
import fcntl
import os
import random
import time
from bisect import bisect_left, bisect_right, insort
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple, TypeVar
from zlib import crc32

import msgspec

from xqueue_core.errors import ConfigError, Refused, Unavailable, Unknown
from xqueue_core.stored import Records
from xqueue_core.stored.clock import Clock
from xqueue_core.stored.records import ANY, Change, Group, Log, Now, Row, Scan

T = TypeVar("T")

#: Seconds to wait for another writer.
PATIENCE = 5.0


class Commit(NamedTuple):
    """One step, applied all or none. In the file: its CRC, then itself as JSON, and a newline."""

    changes: list[Change]  # ``expected`` is one less than the row's version
    counts: dict[str, int]
    log: list[tuple[int, float, list[bytes]]]  # (cursor, wall, events)
    cursor: int  # of the newest entry of the log, also if that was dropped
    trim: float = 0.0  # drop what was logged before

    def line(self) -> bytes:
        body = msgspec.json.encode(self)
        return b"%08x%b\n" % (crc32(body), body)


_decode = msgspec.json.Decoder(Commit).decode


class LogRecords(Records):
    """Holds all rows in memory; makes the file small beyond ``slack`` outdated changes."""

    def __init__(self, path: Path, sync: bool, clock: Clock, slack: int = 10_000) -> None:
        self._path, self._sync, self._clock, self._slack = path, sync, clock, slack
        try:
            path.parent.mkdir(exist_ok=True)
            self._lock = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
            self._open()
        except OSError as error:
            raise ConfigError(f"{path} cannot be opened: {error}") from error

    def _open(self) -> None:
        self._file = self._path.open("a+b", buffering=0)
        self._at = self._cursor = self._changes = 0
        self._rows: dict[str, Change] = {}
        self._lists: defaultdict[str | None, list[tuple[float, str]]] = defaultdict(list)
        self._counts: Counter[str] = Counter()
        self._log: list[tuple[int, float, list[bytes]]] = []

    def close(self) -> None:
        self._file.close()
        os.close(self._lock)

    async def now(self) -> Now:
        return self._clock()

    async def load(self, keys: Sequence[str]) -> list[Row | None]:
        await self._look()
        return [self._row(key) if key in self._rows else None for key in keys]

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
            await self._alone(lambda: self._append(Commit([], {}, [], self._cursor, before)))

    async def swap(self, groups: Sequence[Group]) -> list[bool]:
        return await self._alone(lambda: self._swap(groups))

    async def _alone(self, work: Callable[[], T]) -> T:
        """Do it while nobody else writes, with everything read that others wrote."""
        try:
            async with asyncio.timeout(PATIENCE):
                await asyncio.sleep(0)
                while not self._locked():
                    await asyncio.sleep(random.uniform(0.0001, 0.001))
        except TimeoutError as error:
            raise Unavailable(f"{self._path} is locked by another process") from error
        try:  # no await from here on, so that nobody of this process comes in between
            if b"\n" in self._read()[:-1]:
                raise Refused(f"{self._path} is damaged at byte {self._at}: restore a backup")
            self._file.truncate(self._at)  # what a killed writer left behind
            return work()
        except OSError as error:
            raise Unknown(f"{self._path}: {error}") from error
        finally:
            fcntl.flock(self._lock, fcntl.LOCK_UN)

    def _locked(self) -> bool:
        with suppress(BlockingIOError):
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        return False

    def _swap(self, groups: Sequence[Group]) -> list[bool]:
        after: dict[str, Change] = {}
        counts, events, verdicts = Counter[str](), list[bytes](), list[bool]()
        for group in groups:
            old = [_version(after.get(one.key, self._rows.get(one.key))) for one in group.changes]
            pairs = list(zip(group.changes, old, strict=True))
            verdicts.append(all(change.expected in (ANY, version) for change, version in pairs))
            if verdicts[-1]:
                made = time.time_ns()  # the version of a new row is one that it never had
                after |= {one.key: one._replace(expected=was or made) for one, was in pairs}
                counts.update(group.counts)
                events += group.events
        log = [(self._cursor + 1, self._clock().wall, events)] if events else []
        if after or counts or log:
            self._append(Commit([*after.values()], counts, log, self._cursor + len(log)))
        return verdicts

    def _append(self, commit: Commit) -> None:
        line = commit.line()
        if self._file.write(line) < len(line):
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
            self._apply(_decode(body))
            start = end
        if start and self._sync:  # whoever wrote it may have died before it was on the disk
            os.fdatasync(self._file.fileno())
        self._at += start
        return data[start:]

    def _apply(self, commit: Commit) -> None:
        for change in commit.changes:
            for name, place in _places(self._rows.pop(change.key, None)):
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

    def _row(self, key: str) -> Row:
        row = self._rows[key]
        return Row(key, row.expected + 1, row.body or b"", row.bucket, row.order)

    def _listed(self, name: str | None, after: tuple[float, str], limit: int) -> list[Row]:
        start = bisect_right(self._lists[name], after)
        return [self._row(key) for _, key in self._lists[name][start : start + limit]]


def _version(row: Change | None) -> int:
    return 0 if row is None or row.body is None else row.expected + 1


def _places(row: Change | None) -> Iterator[tuple[str | None, tuple[float, str]]]:
    """Where a row is listed: in its bucket, and among the alarms (None)."""
    if row is not None and row.bucket:
        yield row.bucket, (row.order, row.key)
    if row is not None and row.alarm is not None:
        yield None, (row.alarm, row.key)
