"""The semaphore of a backend built over ``Records`` and ``Bell``."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from contextlib import suppress

import anyio

from xqueue_core.abc import Semaphore
from xqueue_core.errors import BrokerError, ConfigError, InvalidTask
from xqueue_core.permits import Answer, Grant, Keep, KeyInfo, Permit, Renewed, Request
from xqueue_core.stored import permit_rows
from xqueue_core.stored.gate import Gate
from xqueue_core.stored.layout import unpack
from xqueue_core.stored.leases import heartbeat
from xqueue_core.stored.options import StoredOptions
from xqueue_core.stored.permit_store import PermitStore, Sleep
from xqueue_core.stored.records import Bell, Now, Records, Row
from xqueue_core.stored.tasks import stated

#: Longest time in seconds between two looks of a blocked ``acquire``.
LOOK_EVERY = 0.5
#: Seconds between two sweeps by one process.
SWEEP_EVERY = 5.0


class StoredSemaphore(Semaphore):
    """Limits for every process that shares the store.

    Args:
        records: the store.
        bell: wakes who waits for a permit.
        options: the options of the whole backend.
        rng: spreads the attempts of processes that change one key at the same time.
        sleep: waits between such attempts.
    """

    def __init__(
        self,
        records: Records,
        bell: Bell,
        options: StoredOptions,
        rng: random.Random | None = None,
        sleep: Sleep = anyio.sleep,
    ) -> None:
        self._store = PermitStore(records, bell, rng or random.Random(), sleep)
        self._bell = bell
        self._options = options
        self._sweep_at = 0.0

    async def acquire(self, requests: Sequence[Request], wait: float) -> Sequence[Answer]:
        """Ask for permits; blocks only while some wait in line and none is granted.

        Raises InvalidTask for a limit below 1, else BrokerError.
        """
        for request in requests:
            if request.limit is not None and request.limit < 1:
                raise InvalidTask(f"key {request.key!r}: its limit is {request.limit}, below 1")
        answers = await self._store.ask(requests)
        if wait <= 0 or not _blocked(answers):
            return answers
        end = anyio.current_time() + wait
        pause = min([LOOK_EVERY, *(heartbeat(request.lease) for request in requests)])
        topics = {permit_rows.topic(request.key, request.worker) for request in requests}
        # By now they have their places in line: a failure does not say that nothing happened.
        async with self._bell.listen(topics) as rung:
            # Asked again before the first wait: what was granted meanwhile rang unheard.
            while _blocked(answers := await self._again(requests)):
                left = end - anyio.current_time()
                if left <= 0:
                    break
                await rung(min(left, pause))
        return answers

    async def _again(self, requests: Sequence[Request]) -> list[Answer]:
        with stated(requests):
            return await self._store.ask(requests)

    async def renew(
        self,
        worker: str,
        permits: Sequence[Permit],
        watch: Sequence[str],
        lease: float,
        heartbeat: float = 0.0,
    ) -> Renewed:
        """Renew a worker's registration, and with it all its permits."""
        keys = list(dict.fromkeys([*(permit.key for permit in permits), *watch]))
        rows, term, now = await self._store.beat(worker, (lease, heartbeat), permits, keys)
        await self._sweep_if_due()
        return _renewed(dict(zip(keys, rows, strict=True)), permits, watch, (worker, term), now)

    async def release(self, permits: Sequence[Permit]) -> None:
        """Give permits back, or leave the line."""
        by_key: dict[str, list[Permit]] = {}
        for permit in permits:
            by_key.setdefault(permit.key, []).append(permit)
        await self._store.edit(by_key, lambda key, gate, now: gate.release(by_key[key], now))

    async def set_limit(self, key: str, limit: int | None, *, pinned: bool = True) -> None:
        """Set the limit of a key, or remove it. Raises ConfigError for one below 1."""
        if limit is not None and limit < 1:
            raise ConfigError(f"the limit of {key!r} must be 1 or more (or None), not {limit}")
        await self._store.edit(
            [key], lambda _, gate, now: gate.set_limit(limit, pinned, now), mend=True
        )

    async def inspect(self, keys: Sequence[str]) -> Sequence[KeyInfo]:
        """Limits, holders and waiters, for operators."""
        return await self._store.show(keys)

    async def _sweep_if_due(self) -> None:
        now = anyio.current_time()
        if now >= self._sweep_at:
            self._sweep_at = now + SWEEP_EVERY
            with suppress(BrokerError):  # the renewal has been made; the next sweep will do
                await self._store.sweep()


def _blocked(answers: Sequence[Answer]) -> bool:
    """True if something waits and nothing was granted."""
    grants = {answer.grant for answer in answers}
    return Grant.WAITING in grants and not grants & {Grant.GRANTED, Grant.FREE}


def _renewed(
    rows: Mapping[str, Row | None],
    permits: Sequence[Permit],
    watch: Sequence[str],
    own: tuple[str, int],
    now: Now,
) -> Renewed:
    """The verdicts; a key whose row is damaged has lost its permits and has no version."""
    gates = {key: unpack(row, Gate) if row else Gate() for key, row in rows.items()}
    by_key: dict[str, list[int]] = {}
    for i, permit in enumerate(permits):
        by_key.setdefault(permit.key, []).append(i)
    keeps = [Keep.LOST] * len(permits)
    for key, chosen in by_key.items():
        gate = gates[key] or Gate()
        verdicts = gate.renew([permits[i] for i in chosen], *own, now)
        for i, keep in zip(chosen, verdicts, strict=True):
            keeps[i] = keep
    seen = {key: gates[key] for key in watch}
    return Renewed(keeps, {key: gate.seen_version for key, gate in seen.items() if gate})
