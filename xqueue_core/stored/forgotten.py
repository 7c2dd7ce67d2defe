"""Asks workers whether they know of their permits, and takes back those of which they do not.

The rules are those of :mod:`~xqueue_core.stored.doubts`.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from xqueue_core.permits import Permit
from xqueue_core.stored import doubts
from xqueue_core.stored.layout import unpack
from xqueue_core.stored.leases import Registration
from xqueue_core.stored.permit_rows import lease_key, registration_change
from xqueue_core.stored.records import Now, Row

if TYPE_CHECKING:
    from xqueue_core.stored.gate import Gate
    from xqueue_core.stored.permit_store import PermitStore

logger = logging.getLogger("xqueue.stored")


class Forgotten:
    """What is done about permits of which their worker may not know.

    Args:
        store: where they are.
        rng: chooses among very many.
    """

    def __init__(self, store: PermitStore, rng: random.Random) -> None:
        self._store = store
        self._rng = rng

    async def ask(
        self, gates: Mapping[str, Gate], living: Mapping[str, tuple[Row, Registration]], now: Now
    ) -> None:
        """Ask about the old permits of keys that are full.

        A conflict means that the worker renews just now: the next look asks it again.
        """
        own = {worker: own for worker, (_, own) in living.items()}
        asked = doubts.raised(gates, own, now, self._rng)
        await self._store.swap(
            [registration_change(worker, living[worker][0], new) for worker, new in asked.items()]
        )

    async def take_back(self, worker: str, over: Sequence[Permit]) -> None:
        """Take back what has expired although its worker lives, and note that it was done."""
        await self.drop(over)
        [row] = await self._store.load([lease_key(worker)])
        own = unpack(row, Registration)
        if own is not None and not own.dead:
            done = own.without(permit.id for permit in over)
            await self._store.swap([registration_change(worker, row, done)])

    async def drop(self, over: Iterable[Permit]) -> None:
        """Take back what has expired, and tell people of it, unless it was given back before."""
        by_key: dict[str, list[Permit]] = {}
        for permit in over:
            by_key.setdefault(permit.key, []).append(permit)
        there: dict[str, list[Permit]] = {}

        def release(key: str, gate: Gate, now: Now) -> set[str]:
            there[key] = [one for one in by_key[key] if gate.holds(one)]
            return gate.release(by_key[key], now)

        await self._store.edit(by_key, release)
        for permit in (one for some in there.values() for one in some):
            logger.warning("permit %s of %r: its worker does not know of it", permit.id, permit.key)
