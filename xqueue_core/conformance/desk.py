"""A worker as the semaphore sees it: it asks for permits, renews them and gives them back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio

from xqueue_core.conformance.background import Background
from xqueue_core.conformance.check import Broken, same
from xqueue_core.conformance.worker import LONG
from xqueue_core.permits import Answer, Grant, Permit, Renewed, Request

if TYPE_CHECKING:
    from xqueue_core.conformance.bench import Bench


class Desk:
    """Where one worker asks for permits.

    Attributes:
        worker: its worker id.
        lease: the lease of its permits in seconds.
        semaphore: whom it asks.
        heartbeat: what it tells of it; 0 if nothing.
        held: what it renews in the background once it lives.
    """

    def __init__(self, bench: Bench, worker: str = "desk", *, lease: float = LONG) -> None:
        self.bench = bench
        self.worker = f"{worker}~0"
        self.lease = lease
        self.heartbeat = 0.0
        self.semaphore = bench.semaphore
        self.held: dict[str, Permit] = {}
        self._wishes = 0

    def wish(self, key: str, **options: Any) -> Request:
        """A new request for a permit of this key."""
        self._wishes += 1
        id = f"{self.worker}/{self._wishes}"
        return Request(id=id, key=key, worker=self.worker, lease=self.lease, **options)

    async def ask(self, *wishes: Request, wait: float = 0.0) -> list[Answer]:
        """Ask once."""
        answers = list(await self.semaphore.acquire(wishes, wait))
        same(len(answers), len(wishes), "number of answers of acquire")
        return answers

    async def gets(self, key: str, *, within: float = 5.0, **options: Any) -> Permit:
        """A permit, asking again until it is granted."""
        wish = self.wish(key, **options)
        patience = self.bench.pace.wait(within * self.bench.scale)
        while (left := patience.left()) > 0:
            answer = (await self.ask(wish, wait=min(left, 1.0)))[0]
            if answer.grant is Grant.GRANTED:
                permit = Permit(wish.id, key, answer.token)
                self.held[permit.id] = permit
                return permit
        raise Broken(f"{self.worker} waited {within:g} s in vain for a permit of {key}")

    async def renew(self, *permits: Permit, watch: tuple[str, ...] = ()) -> Renewed:
        """Renew these permits."""
        reply = await self.semaphore.renew(self.worker, permits, watch, self.lease, self.heartbeat)
        same(len(reply.permits), len(permits), "number of verdicts of renew")
        same(set(reply.versions), set(watch), "keys whose version is told")
        return reply

    async def release(self, *permits: Permit) -> None:
        """Give permits back, or leave the line."""
        for permit in permits:
            self.held.pop(permit.id, None)
        await self.semaphore.release(permits)

    async def limit(self, key: str, limit: int | None, *, pinned: bool = True) -> None:
        """Set a key's limit."""
        await self.semaphore.set_limit(key, limit, pinned=pinned)

    async def holders(self, key: str) -> list[str]:
        """The ids of the requests that hold a permit of the key."""
        return sorted((await self.semaphore.inspect([key]))[0].holders)

    def live(self) -> Background:
        """Renew in the background, as a worker does, until stopped or the case ends."""
        return self.bench.start(self._renewing)

    async def _renewing(self) -> None:
        while True:
            await self.renew(*self.held.values())
            await anyio.sleep(self.lease / 10)
