"""The only writer of an open file: one transaction for everything that gathered."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import chain
from typing import Any, NamedTuple

import msgspec

from xqueue_core.stored.clock import Clock
from xqueue_core.stored.records import Group
from xqueue_sqlite.batch import Batch
from xqueue_sqlite.connection import Patience, begin, one, roll_back, translated, wal_size
from xqueue_sqlite.failures import Doing, is_busy
from xqueue_sqlite.forking import quiet
from xqueue_sqlite.link import Link
from xqueue_sqlite.place import Identity
from xqueue_sqlite.statements import SIZES, Statements, fitting

#: Bytes of write-ahead log from which on a commit waits for readers, to start it afresh.
_WAL_MOST = 64 * 1024 * 1024
#: Seconds until it waits again, if they stayed longer: all writers wait meanwhile, and a reader may
#: be a process that the system has stopped.
_WAIT_AGAIN = 10.0
#: Log entries dropped in one transaction.
_TRIMMED = 1_000

_packed = msgspec.msgpack.Encoder()
_versions = msgspec.json.Decoder(list[tuple[str, int]])


class Swap(NamedTuple):
    """Work: a call of ``Records.swap``."""

    groups: Sequence[Group]

    @property
    def weight(self) -> int:
        """Its groups."""
        return len(self.groups) or 1


class Trim(NamedTuple):
    """Work: a call of ``Records.trim``."""

    before: float
    weight: int = 1


class Writer:
    """Serves swaps and trims; lives in its desk's thread."""

    def __init__(
        self,
        link: Link,
        identity: Identity,
        patience: Patience,
        statements: Statements,
        clock: Clock,
    ) -> None:
        self._link = link
        self._identity = identity
        self._patience = patience
        self._statements = statements
        self._clock = clock
        self._doing = Doing.CALL
        self._wait_from = 0.0  # not before this (monotonic seconds)

    def close(self) -> None:
        """Disconnect; the last one in copies the write-ahead log into the database."""
        with quiet:
            self._link.close()

    def serve(self, works: Sequence[Swap | Trim]) -> Sequence[Any]:
        """Verdicts for each swap, None for each trim, or the exception to raise."""
        swaps = [work for work in works if isinstance(work, Swap)]
        with quiet:
            results = iter(self._swap_all(swaps))
        return [next(results) if isinstance(work, Swap) else self._trim(work) for work in works]

    # -- swap --------------------------------------------------------------------------------

    def _swap_all(self, swaps: list[Swap]) -> list[Any]:
        if not swaps:
            return []
        try:
            return self._transact(swaps)
        except Exception as error:  # noqa: BLE001 - each swap's caller gets it
            if len(swaps) == 1 or is_busy(error):
                path = self._identity.path
                return [translated(error, path, self._doing) for _ in swaps]
        # One of them may be at fault: the others shall not fail with it.
        return [self._swap_all([swap])[0] for swap in swaps]

    def _transact(self, swaps: list[Swap]) -> list[list[bool]]:
        self._identity.check()
        connection = self._link.connection
        self._doing = Doing.CALL
        begin(connection, self._patience)
        try:
            batch = Batch(self._load_versions(swaps), time.time_ns())
            verdicts = [batch.add(swap.groups) for swap in swaps]
            if not batch.empty:
                self._write(batch)
                self._doing = Doing.COMMIT
                connection.execute("COMMIT")
        finally:
            roll_back(connection)
        self._bound_wal()
        return verdicts

    def _load_versions(self, swaps: list[Swap]) -> dict[str, int]:
        keys = {change.key for swap in swaps for group in swap.groups for change in group.changes}
        found: dict[str, int] = {}
        for values, size in _chunks([(key,) for key in keys], 1):
            packed = one(self._link.connection, self._statements.versions(size), values)
            found.update(_versions.decode(packed))
        return found

    def _write(self, batch: Batch) -> None:
        statements, execute = self._statements, self._link.connection.execute
        written = [row for row in batch.writes.values() if row is not None]
        for values, size in _chunks(written, 6):
            execute(statements.write(size), values)
        if len(written) < len(batch.writes):
            removed = [(key,) for key, row in batch.writes.items() if row is None]
            for values, size in _chunks(removed, 1):
                execute(statements.remove(size), values)
        for values, size in _chunks(batch.counts.items(), 2):
            execute(statements.count(size), values)
        if batch.events:
            execute(statements.append, (self._clock().wall, _packed.encode(batch.events)))

    def _bound_wal(self) -> None:
        if wal_size(self._identity.path) <= _WAL_MOST or time.monotonic() < self._wait_from:
            return
        connection = self._link.connection
        connection.execute("PRAGMA busy_timeout = 100")
        busy = True
        with suppress(sqlite3.Error):
            busy = bool(one(connection, "PRAGMA wal_checkpoint(RESTART)"))
        connection.execute("PRAGMA busy_timeout = 0")
        if busy:
            self._wait_from = time.monotonic() + _WAIT_AGAIN

    # -- trim --------------------------------------------------------------------------------

    def _trim(self, work: Trim) -> Exception | None:
        try:
            more = True
            while more:
                with quiet:
                    more = self._trim_some(work.before)
        except Exception as error:  # noqa: BLE001 - the caller gets it
            return translated(error, self._identity.path, self._doing)
        return None

    def _trim_some(self, before: float) -> bool:
        """Drop some entries; true if there may be more of them."""
        self._identity.check()
        connection, statements = self._link.connection, self._statements
        self._doing = Doing.CALL
        begin(connection, self._patience)
        try:
            row = connection.execute(statements.oldest, (before, _TRIMMED)).fetchone()
            found, last, kept = row
            if found:
                connection.execute(statements.cut, (last + 1 if kept is None else kept,))
            connection.execute(statements.drop_zeros)
            self._doing = Doing.COMMIT
            connection.execute("COMMIT")
        finally:
            roll_back(connection)
        return bool(found == _TRIMMED and kept is None)


def _chunks(rows: Iterable[tuple[Any, ...]], width: int) -> Iterable[tuple[list[Any], int]]:
    """The rows as values for statements made for so many, filled up with NULL."""
    flat = list(chain.from_iterable(rows))
    start = 0
    while start < len(flat):
        size = fitting((len(flat) - start) // width, SIZES)
        values = flat[start : start + size * width]
        start += len(values)
        values += [None] * (size * width - len(values))
        yield values, size
