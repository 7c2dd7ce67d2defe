"""What a transaction is going to write: the rules of ``swap``, without a database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from xqueue_core.stored.records import ANY, Group

#: (key, version, bucket, order, alarm, body)
Written: TypeAlias = tuple[str, int, str, int, float | None, bytes]


class Batch:
    """Gathers the effects of groups, each of which sees those before it.

    Args:
        versions: version of every row that the groups name; those not in it do not exist.
        first: version of each row that is made; its key never had it, as far as anybody could read.
    """

    __slots__ = ("counts", "events", "first", "versions", "writes")

    def __init__(self, versions: dict[str, int], first: int) -> None:
        self.versions = versions
        self.first = first
        self.writes: dict[str, Written | None] = {}  # None: the row is removed
        self.counts: dict[str, int] = {}
        self.events: list[bytes] = []

    def add(self, groups: Sequence[Group]) -> list[bool]:
        """Take in each group that finds the versions it expects; one verdict each."""
        return [self._add(group) for group in groups]

    def _add(self, group: Group) -> bool:
        versions = self.versions
        for change in group.changes:
            if change.expected != ANY and change.expected != versions.get(change.key, 0):
                return False
        for key, _, body, bucket, order, alarm in group.changes:
            if body is None:
                versions[key] = 0
                self.writes[key] = None
            else:
                old = versions.get(key, 0)
                versions[key] = version = old + 1 if old else self.first
                self.writes[key] = (key, version, bucket, order, alarm, body)
        for name, delta in group.counts.items():
            self.counts[name] = self.counts.get(name, 0) + delta
        self.events.extend(group.events)
        return True

    @property
    def empty(self) -> bool:
        """True if there is nothing to write."""
        return not (self.writes or self.counts or self.events)
