"""A worker made by hand: leases what an app's lanes hold and settles it as the test says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from xqueue_core import XQueue
from xqueue_core.abc import Role
from xqueue_core.calls import Beat, Delivery, Settle, Want
from xqueue_core.task import AnyOutcome, Success

Decide = Callable[[Delivery], AnyOutcome]


def succeed(delivery: Delivery) -> AnyOutcome:
    """The payload itself is the result."""
    return Success(result=delivery.task.payload)


@asynccontextmanager
async def hand_worker(app: XQueue, decide: Decide = succeed) -> AsyncIterator[None]:
    """Work on all lanes of the app within the context."""
    worker = asyncio.create_task(_work(app, decide))
    try:
        yield
    finally:
        if worker.done():
            worker.result()
        worker.cancel()
        await asyncio.wait([worker])


async def _work(app: XQueue, decide: Decide) -> None:
    name = "hand~1"
    lanes = sorted({spec.lane for spec in app.handlers.values()})
    async with app.connect(Role.WORKER) as connection:
        queue = connection.faces.queue
        call = 0
        while True:
            await queue.extend(Beat(worker=name, answered=call), [])
            call += 1
            wants = [Want(lane, 500) for lane in lanes]
            leased = await queue.lease(wants, 500, call, name, 0.2)
            await queue.settle(
                [Settle(one.task.id, one.token, decide(one)) for one in leased.deliveries]
            )
            await queue.maintain(0.05)
