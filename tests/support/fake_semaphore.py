"""A scripted Semaphore for unit tests of the engine's parts: exact, without leases."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Sequence

from xqueue_core.abc import Semaphore
from xqueue_core.permits import Answer, Grant, Keep, KeyInfo, Permit, Renewed, Request
from xqueue_core.worker.declaring import KEPT


class FakeSemaphore(Semaphore):
    """``verdicts`` scripts what ``renew`` says of a permit; ``fail`` as in FakeQueue."""

    def __init__(self, **limits: int) -> None:
        self.limits: dict[str, int] = {f"lane:{lane}": limit for lane, limit in limits.items()}
        self.versions: dict[str, int] = dict.fromkeys(self.limits, 1)
        self.holders: defaultdict[str, dict[str, str]] = defaultdict(dict)
        self.line: defaultdict[str, list[str]] = defaultdict(list)
        self.calls: list[list[Request]] = []
        self.renewals: list[list[str]] = []
        self.idle: dict[str, float] = {}  # what the last renewal told of each permit
        self.verdicts: dict[str, Keep] = {}
        self.fail: dict[str, deque[Exception]] = {}
        self.lose: dict[str, deque[Exception]] = {}
        self.declared: dict[str, int | None] = {}
        self.changed = asyncio.Event()

    def limit(self, key: str, limit: int | None) -> None:
        """Set or remove a limit."""
        self.versions[key] = 0 if limit is None else self.versions.get(key, 0) + 1
        if limit is None:
            self.limits.pop(key, None)
        else:
            self.limits[key] = limit
        self.changed.set()

    async def acquire(self, requests: Sequence[Request], wait: float) -> list[Answer]:
        self.calls.append(list(requests))
        await asyncio.sleep(0)
        self._raise(self.fail, "acquire")
        answers = [self._answer(one) for one in requests]
        waiting = [one for one in answers if one.grant is Grant.WAITING]
        if len(waiting) == len(answers) and wait:
            try:
                async with asyncio.timeout(wait):
                    while not any(one.grant is Grant.GRANTED for one in answers):
                        self.changed.clear()
                        await self.changed.wait()
                        answers = [self._answer(one) for one in requests]
            except TimeoutError:
                pass
        self._raise(self.lose, "acquire")
        return answers

    async def renew(
        self,
        worker: str,
        permits: Sequence[Permit],
        watch: Sequence[str],
        lease: float,
        heartbeat: float = 0.0,
    ) -> Renewed:
        self.renewals.append([one.id for one in permits])
        self.idle = {one.id: one.idle for one in permits}
        await asyncio.sleep(0)
        self._raise(self.fail, "renew")
        keeps = [self.verdicts.get(one.id, Keep.KEPT) for one in permits]
        return Renewed(keeps, {key: self.versions.get(key, 0) for key in watch})

    async def release(self, permits: Sequence[Permit]) -> None:
        await asyncio.sleep(0)
        self._raise(self.fail, "release")
        for one in permits:
            self.holders[one.key].pop(one.id, None)
            if one.id in self.line[one.key]:
                self.line[one.key].remove(one.id)
        self.changed.set()

    async def set_limit(self, key: str, limit: int | None, *, pinned: bool = True) -> None:
        self._raise(self.fail, "set_limit")
        self.declared[key] = limit
        if key == KEPT:
            self.limit(key, limit)

    async def inspect(self, keys: Sequence[str]) -> list[KeyInfo]:
        return [
            KeyInfo(
                key=key,
                limit=self.limits.get(key),
                version=self.versions.get(key, 0),
                holders=dict(self.holders[key]),
            )
            for key in keys
        ]

    def _answer(self, request: Request) -> Answer:
        key, held, line = request.key, self.holders[request.key], self.line[request.key]
        limit = request.limit or self.limits.get(key)
        if limit is None:
            return Answer(Grant.FREE)
        first = not line or line[0] == request.id
        if request.id in held or request.running or (len(held) < limit and first):
            held[request.id] = request.worker
            if request.id in line:
                line.remove(request.id)
            above = list(held)[limit:]
            keep = Keep.YIELD if request.id in above else Keep.KEPT
            return Answer(Grant.GRANTED, 1, version=self.versions.get(key, 0), keep=keep)
        if not request.queue:
            return Answer(Grant.DENIED)
        if request.id not in line:
            line.append(request.id)
        return Answer(Grant.WAITING, place=line.index(request.id) + 1)

    def _raise(self, script: dict[str, deque[Exception]], method: str) -> None:
        if errors := script.get(method):
            raise errors.popleft()
