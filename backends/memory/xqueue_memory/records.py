"""``Records`` on dicts."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice, takewhile

from xqueue_core.stored.clock import Clock, host_clock
from xqueue_core.stored.records import ANY, Change, Group, Log, Now, Records, Row, Scan
from xqueue_memory.ordered import Ordered

#: Most changes in one group, as ``Group`` says. The reference insists on it, so that what runs
#: here fits stores that have such a limit.
MAX_CHANGES = 8


class MemoryRecords(Records):
    """Rows, counts and log of one store, gone with the object.

    May be used from several event loops in several threads.
    """

    def __init__(self, clock: Clock = host_clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._rows: dict[str, Row] = {}
        self._buckets: dict[str, Ordered[tuple[int, str]]] = {}
        self._alarms: Ordered[tuple[float, str]] = Ordered()
        self._alarm_of: dict[str, float] = {}
        self._counts: dict[str, int] = {}
        self._names: Ordered[str] = Ordered()
        self._log: list[tuple[float, Sequence[bytes]]] = []  # (wall, events), oldest first
        self._highest = 0  # version that a removed row had
        self._last = 0  # cursor of the newest entry, also when it was dropped

    def __len__(self) -> int:
        """How many rows there are."""
        return len(self._rows)

    # -- reading -----------------------------------------------------------------------------

    async def now(self) -> Now:
        """Read the store's clocks."""
        return self._clock()

    async def load(self, keys: Sequence[str]) -> Sequence[Row | None]:
        """The rows with these keys, None where there is none."""
        with self._lock:
            return [self._rows.get(key) for key in keys]

    async def scan(self, scans: Sequence[Scan]) -> Sequence[Sequence[Row]]:
        """For each scan the bucket's rows in order of (order, key)."""
        with self._lock:
            return [self._scanned(scan) for scan in scans]

    def _scanned(self, scan: Scan) -> list[Row]:
        bucket = self._buckets.get(scan.bucket)
        if bucket is None:
            return []
        return [self._rows[key] for _, key in islice(bucket.behind(scan.after), scan.limit)]

    async def due(self, limit: int) -> tuple[Sequence[Row], float | None]:
        """Rows whose alarm has passed, earliest first, and the next alarm after now, if any."""
        now = self._clock().wall
        with self._lock:
            passed = takewhile(lambda alarm: alarm[0] <= now, self._alarms)
            rows = [self._rows[key] for _, key in islice(passed, limit)]
            # A key holds no more than U+10FFFF; a tuple of one sorts before all of its time.
            coming = (at for at, _ in self._alarms.behind((now, "\U0010ffff")) if at > now)
            return rows, next(coming, None)

    async def counts(self, prefix: str, after: str, limit: int) -> Sequence[tuple[str, int]]:
        """Counts that are not 0 whose name has this prefix and sorts behind ``after``."""
        with self._lock:
            names = self._names.behind(after) if after >= prefix else self._from(prefix)
            found = takewhile(lambda name: name.startswith(prefix), names)
            return [(name, self._counts[name]) for name in islice(found, limit)]

    def _from(self, name: str) -> Iterable[str]:
        if name in self._counts:
            yield name
        yield from self._names.behind(name)

    async def log(self, after: int | None, limit: int) -> Log:
        """At most ``limit`` log entries behind the cursor; None reads no entries."""
        with self._lock:
            first = self._last + 1 - len(self._log)
            if after is None:
                return Log([], first, self._last)
            start = max(after + 1, first)
            kept = self._log[start - first : start - first + limit]
            entries = [(start + n, events) for n, (_, events) in enumerate(kept)]
            return Log(entries, first, self._last)

    # -- changing ----------------------------------------------------------------------------

    async def swap(self, groups: Sequence[Group]) -> Sequence[bool]:
        """Apply each group if every row in it has the version expected; one verdict each."""
        _check(groups)
        with self._lock:
            verdicts = [self._fits(group) and self._apply(group) for group in groups]
            applied = zip(groups, verdicts, strict=True)
            events = [event for group, done in applied if done for event in group.events]
            if events:
                self._log.append((self._clock().wall, events))
                self._last += 1
            return verdicts

    def _fits(self, group: Group) -> bool:
        for change in group.changes:
            row = self._rows.get(change.key)
            if change.expected not in (ANY, row.version if row else 0):
                return False
        return True

    def _apply(self, group: Group) -> bool:
        for change in group.changes:
            self._change(change)
        self._count(group.counts)
        return True

    def _change(self, change: Change) -> None:
        key = change.key
        old = self._rows.pop(key, None)
        if old and old.bucket:
            bucket = self._buckets[old.bucket]
            bucket.remove((old.order, key))
            if not bucket:
                del self._buckets[old.bucket]
        alarm = self._alarm_of.pop(key, None)
        if alarm is not None:
            self._alarms.remove((alarm, key))
        if change.body is None:
            self._highest = max(self._highest, old.version if old else 0)
            return
        version = old.version + 1 if old else self._highest + 1
        self._rows[key] = Row(key, version, change.body, change.bucket, change.order)
        if change.bucket:
            self._buckets.setdefault(change.bucket, Ordered()).add((change.order, key))
        if change.alarm is not None:
            self._alarm_of[key] = change.alarm
            self._alarms.add((change.alarm, key))

    def _count(self, deltas: Mapping[str, int]) -> None:
        for name, delta in deltas.items():
            old = self._counts.get(name, 0)
            new = old + delta
            if new:
                self._counts[name] = new
                if not old:
                    self._names.add(name)
            elif old:
                del self._counts[name]
                self._names.remove(name)

    async def trim(self, before: float) -> None:
        """Drop log entries written before this wall time."""
        with self._lock:
            old = sum(1 for _ in takewhile(lambda entry: entry[0] < before, self._log))
            del self._log[:old]


def _check(groups: Sequence[Group]) -> None:
    for group in groups:
        if len(group.changes) > MAX_CHANGES:
            raise ValueError(f"a group of {len(group.changes)} changes; at most {MAX_CHANGES}")
        if len({change.key for change in group.changes}) < len(group.changes):
            raise ValueError("a group that changes one row twice")
