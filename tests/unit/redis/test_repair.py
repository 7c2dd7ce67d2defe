"""What somebody removes from beside a task is put back, and the task runs."""

from __future__ import annotations

import pytest

from support.redis_clock import ClockedLink
from xqueue_core.calls import Beat, Cancel, Did, Held, Settle, Settled, Want
from xqueue_core.stored.options import StoredOptions
from xqueue_core.task import HandBack, Parked, Success, Task
from xqueue_redis.queue import RedisQueue
from xqueue_redis.view import RedisView

pytestmark = pytest.mark.anyio
WORKER = "w~1"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Installation:
    """A queue whose time passes when it is told, one worker, and a task in each place."""

    def __init__(self) -> None:
        self.now = 4e9
        self.call = 0
        self.held: dict[str, int] = {}

    async def begin(self, link: ClockedLink) -> None:
        """Put a task where each can be: ready, early, scheduled, in a line, held, final."""
        self.link = link
        self.queue = RedisQueue(link, StoredOptions())
        self.view = RedisView(link, StoredOptions())
        await self.beat()
        await self.queue.put([Task(id=f"a:{n}", lane="a") for n in ("early", "final", "held")])
        tokens = await self.lease(3)
        await self.settle("a:early", tokens["a:early"], HandBack())
        await self.settle("a:final", tokens["a:final"], Success())
        await self.queue.put([Task(id="a:parked", lane="a", key="k"), Task(id="a:ready", lane="a")])
        await self.queue.put([Task(id="a:later", lane="a", delay=5.0)])
        tokens = await self.lease(2)
        await self.settle("a:early", tokens["a:early"], HandBack())
        await self.settle("a:parked", tokens["a:parked"], Parked())

    async def beat(self) -> None:
        """A heartbeat."""
        held = [Held(id, token) for id, token in self.held.items()]
        beat = Beat(worker=WORKER, answered=self.call, lanes=["a"], lease=3600, heartbeat=900)
        await self.queue.extend(beat, held)

    async def lease(self, limit: int = 100) -> dict[str, int]:
        """What can be had, by id."""
        self.call += 1
        got = await self.queue.lease([Want("a", limit)], limit, self.call, WORKER, 0.0)
        tokens = {one.task.id: one.token for one in got.deliveries}
        self.held |= tokens
        return tokens

    async def settle(self, id: str, token: int, outcome: HandBack | Success | Parked) -> None:
        """End a delivery."""
        del self.held[id]
        assert await self.queue.settle([Settle(id, token, outcome)]) == [Settled.APPLIED]

    async def passes(self, seconds: float) -> None:
        """Time passes, and the queue is maintained."""
        self.now += seconds
        while await self.queue.maintain(5.0) <= 0:
            pass


async def remove(installation: Installation, *names: str) -> None:
    for name in names:
        assert await installation.link.command("DEL", installation.link.prefix + name) == 1


@pytest.mark.parametrize(
    "names",
    [
        ("r:a:0",),
        ("early:a:0",),
        ("r:a:0", "early:a:0"),
        ("ready:a",),
        ("later",),
        ("line:a:k", "lines"),
        ("held:" + WORKER,),
        ("r:a:0", "early:a:0", "ready:a", "later", "line:a:k", "lines", "held:" + WORKER),
    ],
)
async def test_every_task_is_found_again(
    installation: Installation, names: tuple[str, ...]
) -> None:
    await remove(installation, *names)
    await installation.lease()  # by which it may be noticed
    await installation.passes(11.0)
    [verdict] = await installation.queue.control([Cancel("a:parked")])
    assert verdict.did is Did.APPLIED
    await installation.lease()
    assert set(installation.held) == {"a:early", "a:ready", "a:later", "a:held"}
    await installation.beat()
    for id, token in list(installation.held.items()):
        await installation.settle(id, token, Success())
    total = (await installation.view.stats()).total()
    assert (total.success, total.canceled, total.live, total.conserved) == (5, 1, 0, True)


async def test_the_group_alone_is_made_anew_and_nothing_is_given_out_twice(
    installation: Installation,
) -> None:
    stream = installation.link.prefix + "r:a:0"
    assert await installation.link.command("XGROUP", "DESTROY", stream, "x") == 1
    assert set(await installation.lease()) == {"a:early", "a:ready"}
    assert await installation.lease() == {}
    await installation.settle("a:held", installation.held["a:held"], Success())
    assert (await installation.view.stats()).total().success == 2


async def test_rubbish_of_another_type_is_moved_aside(installation: Installation) -> None:
    prefix = installation.link.prefix
    for name in ("r:a:0", "early:a:0", "later", "held:" + WORKER):
        await installation.link.command("SET", prefix + name, "rubbish")
    await installation.lease()
    await installation.passes(11.0)
    await installation.lease()
    assert set(installation.held) == {"a:early", "a:ready", "a:later", "a:held"}
    kept = await installation.link.command("KEYS", prefix + "rubbish:*")
    assert len(kept) == 4


async def test_an_entry_that_is_none_of_ours_holds_up_nobody(installation: Installation) -> None:
    stream = installation.link.prefix + "r:a:0"
    await installation.link.command("XADD", stream, "*", "what", "is this")
    await installation.link.command("XADD", stream, "*", "i", "a:nobody")
    await installation.lease()
    assert set(installation.held) == {"a:early", "a:ready", "a:held"}
    await installation.queue.put([Task(id="a:new", lane="a")])
    assert set(await installation.lease()) == {"a:new"}


async def test_a_sound_queue_is_not_gone_through(installation: Installation) -> None:
    link = installation.link
    id = "a:damaged"
    await installation.queue.put([Task(id=id, lane="a")])
    await link.command("HSET", f"{link.prefix}t:{id}", "s", b"\xc1")
    await installation.lease()
    await installation.passes(61.0)
    await installation.passes(61.0)
    assert await link.command("HGET", f"{link.prefix}meta", "repaired") is None
    [info] = await installation.view.find([id])
    assert info is not None
    assert info.quarantined
