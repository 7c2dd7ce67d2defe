"""What a submit of many says of those that were not accepted."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from support.client_fakes import Clock, FakeBroker
from xqueue_core import XQueue
from xqueue_core.calls import Accepted
from xqueue_core.client.client import Client
from xqueue_core.client.retrying import Retrying
from xqueue_core.errors import InvalidTask, Unknown
from xqueue_core.task import Task

pytestmark = pytest.mark.anyio


async def test_accepted_refused_and_unknown_are_counted_apart() -> None:
    app = XQueue()

    @app.task(name="t")
    async def nothing(n: int) -> None: ...

    clock, broker = Clock(), FakeBroker()
    put, calls = broker.queue.put, [nothing.call(n) for n in range(1200)]
    broker.queue.reject = {call.id: InvalidTask("bad") for call in calls[:3]}

    async def lossy(tasks: Sequence[Task]) -> Sequence[Accepted]:
        answers = await put(tasks)
        if len(broker.queue.puts) > 2:
            raise Unknown("no reply")
        return answers

    broker.queue.put = lossy  # type: ignore[method-assign]
    client = Client(broker.connect, Retrying(clock.retrying().runtime))
    with pytest.raises(InvalidTask, match="bad") as caught:
        await client.submit_many(calls)
    await client.close()
    (note,) = caught.value.__notes__
    assert note == (
        "of 1200 tasks 997 were accepted, 3 were not, and of 200 it is unknown; submitting the "
        "same calls again is safe for 86400 s after their end, as each has its id"
    )
