"""What somebody changes beside the queue stops nobody: the rest is leased, once each."""

from __future__ import annotations

import msgspec
import pytest

from unit.redis.test_repair import Installation
from xqueue_core.calls import Did, Purge, Put, Unpark
from xqueue_core.task import HandBack, Parked, Success, Task
from xqueue_core.views import Filter

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_a_task_without_its_envelope_is_set_aside(installation: Installation) -> None:
    link = installation.link
    assert await link.command("HDEL", link.prefix + "t:a:ready", "e") == 1
    assert set(await installation.lease()) == {"a:early"}
    await installation.beat()
    assert (await installation.view.stats()).total().conserved


async def test_an_entry_more_of_a_task_does_not_undo_its_lease(installation: Installation) -> None:
    link, rank = installation.link, (installation.now + 0.5) * 1e6
    await link.command("XADD", link.prefix + "r:a:0", f"{rank:.0f}-0", "i", "a:early")
    installation.now += 1.0
    await installation.queue.put([Task(id="a:new", lane="a")])
    tokens = await installation.lease()
    tokens |= await installation.lease()
    assert set(tokens) == {"a:early", "a:new", "a:ready"}
    for id, token in tokens.items():
        await installation.settle(id, token, Success())


async def test_what_was_put_in_front_of_all_others_does_not_stay_there(
    installation: Installation,
) -> None:
    installation.now += 1.0
    await installation.queue.put([Task(id="a:new", lane="a")])
    link = installation.link
    await link.command("ZADD", link.prefix + "early:a:0", 1, "a:new")
    got = [id for _ in range(4) for id in await installation.lease(1)]
    assert sorted(got) == ["a:early", "a:new", "a:ready"]


async def test_a_level_that_is_gone_does_not_stand_before_others(
    installation: Installation,
) -> None:
    await installation.lease()
    await installation.queue.put([Task(id=f"a:high{n}", lane="a", priority=9) for n in range(2)])
    await installation.queue.put([Task(id=f"a:low{n}", lane="a") for n in range(2)])
    link = installation.link
    assert await link.command("DEL", link.prefix + "r:a:9") == 1
    got = [id for _ in range(2) for id in await installation.lease(2)]
    assert sorted(got) == ["a:low0", "a:low1"]


async def test_what_another_has_read_is_leased(installation: Installation) -> None:
    installation.now += 1.0
    await installation.queue.put([Task(id="a:new", lane="a")])
    link = installation.link
    read = ("XREADGROUP", "GROUP", "x", "other", "STREAMS", link.prefix + "r:a:0", ">")
    assert await link.command(*read)
    for _ in range(3):
        await installation.lease()
        await installation.passes(61.0)
    assert {"a:early", "a:new", "a:ready"} <= set(installation.held)
    assert await link.command("SCARD", link.prefix + "repair") == 0


async def test_a_unique_key_of_a_task_that_is_not_there_holds_nobody_back(
    installation: Installation,
) -> None:
    link = installation.link
    held = msgspec.msgpack.encode(("a:gone", -1))
    assert await link.command("SET", link.prefix + "u:a:key", held)
    [answer] = await installation.queue.put([Task(id="a:new", lane="a", unique_key="key")])
    assert answer.put is Put.NEW
    [answer] = await installation.queue.put([Task(id="a:other", lane="a", unique_key="key")])
    assert (answer.put, answer.of) == (Put.DUPLICATE, "a:new")


async def damaged(installation: Installation, id: str) -> None:
    link = installation.link
    assert await link.command("HSET", f"{link.prefix}t:{id}", "s", b"\xc1") == 0


async def test_a_damaged_task_of_a_line_leaves_it_when_its_wait_is_over(
    installation: Installation,
) -> None:
    tasks = [Task(id=f"a:{n}", lane="a", key="z", queue_timeout=50.0) for n in ("bad", "good")]
    await installation.lease()
    await installation.queue.put(tasks)
    tokens = await installation.lease()
    for one in tasks:
        await installation.settle(one.id, tokens[one.id], Parked())
    await damaged(installation, "a:bad")
    await installation.passes(51.0)
    await sound_but_for(installation, "a:bad")
    total = (await installation.view.stats()).total()
    assert (total.timeout, total.parked, total.scheduled) == (1, 1, 0), "a:good, a:parked"


async def test_a_damaged_task_that_waits_for_its_time_again_leaves_it_when_its_wait_is_over(
    installation: Installation,
) -> None:
    await installation.lease()
    await installation.queue.put([Task(id="a:bad", lane="a", queue_timeout=0.5)])
    tokens = await installation.lease()
    await installation.settle("a:bad", tokens["a:bad"], HandBack(unable="no such type"))
    await damaged(installation, "a:bad")
    await installation.passes(0.75)
    await sound_but_for(installation, "a:bad")


async def test_a_damaged_task_leaves_its_line_when_that_is_let_go(
    installation: Installation,
) -> None:
    await damaged(installation, "a:parked")
    [verdict] = await installation.queue.control([Unpark("a", "k", 9)])
    assert (verdict.did, verdict.count) == (Did.APPLIED, 0)
    await sound_but_for(installation, "a:parked")
    assert (await installation.view.stats()).total().parked == 0


async def sound_but_for(installation: Installation, id: str) -> None:
    """Only this is in quarantine, the ledger agrees with the places, and it can be purged."""
    link, view = installation.link, installation.view
    assert await link.command("ZRANGE", f"{link.prefix}quarantine", 0, -1) == [id.encode()]
    for place in ("later", "line:a:z", "line:a:k", "expiring:a"):
        assert await link.command("ZSCORE", link.prefix + place, id) is None
    await installation.passes(11.0)
    assert await link.command("HGET", f"{link.prefix}meta", "repaired") is None
    [verdict] = await installation.queue.control([Purge(id)])
    assert verdict.did is Did.APPLIED
    total = (await view.stats()).total()
    assert (total.quarantined, total.canceled, total.conserved) == (0, 1, True)
    assert total.live == len((await view.list(Filter(), None, 99)).items) - total.success - (
        total.timeout
    )


@pytest.mark.parametrize("first", ["0", "$"])
async def test_a_group_of_somebody_else_hides_nothing(
    installation: Installation, first: str
) -> None:
    link = installation.link
    installation.now += 1.0
    await installation.queue.put([Task(id="a:new", lane="a")])
    stream = link.prefix + "r:a:0"
    await link.command("XGROUP", "CREATE", stream, "zebra", first)
    await link.command("XREADGROUP", "GROUP", "zebra", "me", "STREAMS", stream, ">")
    assert (await installation.view.stats()).lanes["a"].oldest_at is not None
    assert list(await installation.lease(3)) == ["a:early", "a:ready", "a:new"]
    await installation.passes(2.0)
    assert await link.command("SCARD", link.prefix + "repair") == 0
    assert await link.command("HGET", link.prefix + "meta", "repaired") is None
    assert await link.run("view/names", "groups") == [b"r:a:0 zebra"]
