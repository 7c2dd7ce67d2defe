"""A task whose key somebody has removed leaves the ledger, once whatever named it is gone."""

from __future__ import annotations

import pytest

from unit.redis.test_repair import Installation
from xqueue_core.calls import Unpark
from xqueue_core.task import Success, Task

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def remove(installation: Installation, *ids: str) -> None:
    for id in ids:
        assert await installation.link.command("DEL", f"{installation.link.prefix}t:{id}") == 1


async def end_all(installation: Installation) -> None:
    """Whatever can be had is leased, and ends; what the worker holds is named by a heartbeat."""
    for _ in range(3):
        await installation.lease()
        for id, token in list(installation.held.items()):
            await installation.settle(id, token, Success())
        await installation.beat()
        await installation.passes(11.0)
    await installation.queue.control([Unpark("a", "k", 9)])
    for id, token in (await installation.lease()).items():
        await installation.settle(id, token, Success())
    await installation.passes(11.0)


async def nothing_left(installation: Installation, gone: int) -> None:
    total = (await installation.view.stats()).total()
    assert (total.pending, total.parked, total.scheduled, total.processing) == (0, 0, 0, 0)
    assert (total.canceled, total.conserved) == (gone, True)
    link = installation.link
    await installation.passes(61.0)
    repaired = await link.command("HGET", link.prefix + "meta", "repaired")
    await installation.passes(61.0)
    assert await link.command("HGET", link.prefix + "meta", "repaired") == repaired
    assert await link.command("EXISTS", link.prefix + "vanished") == 0


@pytest.mark.parametrize(
    "gone",
    [("ready",), ("early",), ("later",), ("held",), ("parked",), ("ready", "later", "parked")],
)
async def test_it_leaves_the_ledger(installation: Installation, gone: tuple[str, ...]) -> None:
    await remove(installation, *(f"a:{name}" for name in gone))
    for name in gone:
        installation.held.pop(f"a:{name}", None)
    await end_all(installation)
    await nothing_left(installation, len(gone))


async def test_one_in_a_stream_leaves_it_beside_others(installation: Installation) -> None:
    installation.now += 1.0
    tasks = [Task(id=f"{type}:{n}", lane="a") for type in "ab" for n in range(4)]
    await installation.queue.put(tasks)
    await remove(installation, "a:1", "b:2", "b:3")
    await end_all(installation)
    counts = (await installation.view.stats()).lanes["a"].types
    assert (counts["a"].canceled, counts["b"].canceled) == (1, 2)
    await nothing_left(installation, 3)


async def test_a_task_that_never_was_takes_none_from_the_ledger(
    installation: Installation,
) -> None:
    link = installation.link
    await link.command("XADD", link.prefix + "r:a:0", "*", "i", "a:nobody")
    await link.command("ZADD", link.prefix + "later", 1, "a:none")
    await link.command("ZADD", link.prefix + "line:a:k", 1, "a:neither")
    await link.command("HSET", f"{link.prefix}held:w~1", "a:nor", "1:0:0")
    await end_all(installation)
    total = (await installation.view.stats()).total()
    assert (total.success, total.canceled, total.live, total.conserved) == (6, 0, 0, True)


async def test_what_waits_meanwhile_stays_counted(installation: Installation) -> None:
    installation.now += 1.0
    await installation.queue.put([Task(id="a:key", lane="a", key="k"), Task(id="a:x", lane="a")])
    await remove(installation, "a:parked", "a:x", "a:later")
    await installation.lease()
    await installation.passes(11.0)
    await installation.beat()
    await installation.passes(11.0)
    assert (await installation.view.stats()).total().parked == 2, "nobody has looked into the line"
    await end_all(installation)
    await nothing_left(installation, 3)
