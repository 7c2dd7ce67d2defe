"""A store for one opening of a backend: when that has ended it refuses, though others go on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn

from xqueue_core.errors import Refused
from xqueue_core.stored.records import Group, Log, Now, Records, Row, Scan

_CALLS = ("now", "load", "swap", "scan", "outline", "due", "counts", "log", "trim")


@contextmanager
def lent(records: Records, what: str) -> Iterator[Records]:
    """The store within the context; behind it every call raises Refused.

    For a backend whose openings share one store, so that the end of one is not the store's.

    Args:
        records: the store.
        what: what is closed then, for the message.
    """
    loan = _Loan(records, what)
    try:
        yield loan
    finally:
        loan.end()


class _Loan(Records):
    """As long as it lasts its methods are the store's own, so that it costs no call anything."""

    def __init__(self, records: Records, what: str) -> None:
        self.store = records
        self._what = what
        for name in _CALLS:
            setattr(self, name, getattr(records, name))

    def end(self) -> None:
        """From now on the class's own methods are called."""
        for name in _CALLS:
            delattr(self, name)

    def _closed(self) -> NoReturn:
        raise Refused(f"{self._what} is closed: it was used after its context had ended")

    async def now(self) -> Now:
        self._closed()

    async def load(self, keys: Sequence[str]) -> Sequence[Row | None]:
        self._closed()

    async def swap(self, groups: Sequence[Group]) -> Sequence[bool]:
        self._closed()

    async def scan(self, scans: Sequence[Scan]) -> Sequence[Sequence[Row]]:
        self._closed()

    async def outline(self, scans: Sequence[Scan]) -> Sequence[Sequence[Row]]:
        self._closed()

    async def due(self, limit: int) -> tuple[Sequence[Row], float | None]:
        self._closed()

    async def counts(self, prefix: str, after: str, limit: int) -> Sequence[tuple[str, int]]:
        self._closed()

    async def log(self, after: int | None, limit: int) -> Log:
        self._closed()

    async def trim(self, before: float) -> None:
        self._closed()


def lender(records: Records) -> Records:
    """The store itself."""
    return records.store if isinstance(records, _Loan) else records
