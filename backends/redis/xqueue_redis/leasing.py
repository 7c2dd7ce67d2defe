"""Taking tasks for a worker: one script for a batch, and a wait where there is none."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from xqueue_core.calls import Delivery, Leased, Want
from xqueue_core.envelope import decode_task
from xqueue_core.errors import InvalidTask, LeaseLost, Refused
from xqueue_redis.waking import Waker

if TYPE_CHECKING:
    from xqueue_redis.connection import Link

#: Longest time between two looks of a worker that waits, in case a wake is lost (seconds).
LOOK_EVERY = 2.5
#: Time between two looks from the third on for what is due (seconds): it may be nothing to take, as
#: where it joins a key's line.
DUE_EVERY = 0.1

#: Id, token, attempt, losses, and when it was accepted, due and leased.
Head = tuple[str, int, int, int, float, float, float]

_encode = msgspec.msgpack.Encoder().encode
_heads = msgspec.msgpack.Decoder(list[Head]).decode


class Leaser:
    """The ``lease`` of the queue."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._waker = Waker(link)

    async def lease(
        self, wants: Sequence[Want], limit: int, call: int, worker: str, wait: float
    ) -> Leased:
        """See :meth:`xqueue_core.abc.TaskQueue.lease`."""
        clock = asyncio.get_running_loop().time
        until = clock() + wait
        lanes = [want.lane for want in wants]
        asked = _encode([(want.lane, want.limit) for want in wants])
        looks = 0
        while True:
            leased, due = await self._once(worker, call, limit, asked)
            left = until - clock()
            if leased.deliveries or leased.ready or left <= 0:
                return leased
            looks += 1
            if due is None:
                due = LOOK_EVERY
            elif looks > 2:
                due = max(due, DUE_EVERY)
            pause = min(left, LOOK_EVERY, due)
            if not lanes:
                await asyncio.sleep(pause)
            elif not await self._waker.wait(lanes, pause) and pause == left:
                return leased  # whoever asks again looks at once

    async def _once(
        self, worker: str, call: int, limit: int, asked: bytes
    ) -> tuple[Leased, float | None]:
        """What there is now, and how soon more may be due (None: nothing waits for its time)."""
        answer: list[Any] = await self._link.run("lease", worker, call, limit, asked)
        what = answer[0]
        if what == b"lost":
            raise LeaseLost(
                f"worker {worker} is not registered, or was declared dead: extend first"
            )
        if what == b"old":
            last = answer[1].decode()
            raise Refused(f"call {call} of worker {worker} is older than its call {last}")
        _, due, envelopes, heads, ready = answer
        deliveries = []
        for envelope, head in zip(envelopes, _heads(heads), strict=True):
            delivery = await self._delivery(worker, envelope, head)
            if delivery is not None:
                deliveries.append(delivery)
        if envelopes and not deliveries:
            due = b"0"  # all was set aside: look at what is behind it
        return Leased(deliveries, [lane.decode() for lane in ready]), float(due) if due else None

    async def _delivery(self, worker: str, envelope: bytes | None, head: Head) -> Delivery | None:
        """The delivery; None for an envelope that cannot be decoded, which is set aside."""
        try:
            task = decode_task(envelope or b"")  # somebody may have removed it
        except InvalidTask:
            await self._link.run("aside", worker, head[0], head[1])
            return None
        _, token, attempt, losses, accepted_at, due_at, leased_at = head
        return Delivery(
            task=task,
            token=token,
            attempt=attempt,
            losses=losses,
            accepted_at=accepted_at,
            due_at=due_at,
            leased_at=leased_at,
        )
