"""The end of a run: wait until all is done, and note how the broker's view shows every task."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from support.history.events import Delivered, FinalState, Ledger
from support.history.writer import Writer, now
from xqueue_core import XQueue
from xqueue_core.errors import BrokerError
from xqueue_core.task import Attempt

PAGE = 500


async def drained(app: XQueue, seconds: float) -> bool:
    """Wait until nothing lives; False if something still does after so long."""
    try:
        async with asyncio.timeout(seconds), app.connect() as connection:
            view = connection.faces.needed("view")
            while True:
                try:
                    if (await view.stats()).total().live == 0:
                        return True
                except BrokerError:
                    pass
                await asyncio.sleep(0.1)
    except TimeoutError:
        return False


async def note(app: XQueue, ids: Sequence[str], writer: Writer) -> None:
    """Write each task's state and the ledger."""
    async with app.connect() as connection:
        view = connection.faces.needed("view")
        for n in range(0, len(ids), PAGE):
            for info in await view.find(ids[n : n + PAGE]):
                if info is None:
                    continue
                history = [_delivered(one) for one in info.history]
                writer.write(
                    FinalState(
                        at=now(),
                        id=info.id,
                        state=info.state.value,
                        reason=info.reason,
                        attempt=info.attempt,
                        losses=info.losses,
                        history=history,
                    )
                )
        total = (await view.stats()).total()
    writer.write(
        Ledger(
            at=now(),
            accepted=total.accepted,
            live=total.live,
            final=total.final,
            replayed=total.replayed,
            moved_in=total.moved_in,
            moved_out=total.moved_out,
        )
    )


def _delivered(one: Attempt) -> Delivered:
    """With the broker's times, which are the host's wall clock, by the history's clock."""
    wall = time.time() - now()
    ended = one.ended_at - wall if one.ended_at else 0.0
    began = one.started_at - wall
    return Delivered(one.delivery, one.attempt, one.worker, one.how, began, ended)
