"""A row of the right length with one value that is none of ours: set aside like any other."""

from __future__ import annotations

import math
import re
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

import services
from support.redis_clock import clocked
from unit.redis.test_repair import Installation
from xqueue_core.calls import Cancel, Did, Purge, Put, Settle, Settled, Unpark
from xqueue_core.task import Attempt, HandBack, Parked, State, Success, Task
from xqueue_core.views import Filter
from xqueue_redis import rows
from xqueue_redis.scripts import source

pytestmark = pytest.mark.anyio

#: What is put in place of a value, by its type.
WRONG: dict[Any, tuple[Any, ...]] = {
    int: ("7", True, None, [1], 1.5, math.nan, 1e300, -9),
    float: ("7", False, None, [1], math.nan),
    str: (7, None, True, ["a"]),
    bool: (0, None, "x"),
    list: (7, "abc", None),
    State: (7, None, ["a"], "nonsense"),
    rows.Level: ("7", None, 1.5, 10, -1),
}
WRONG |= {rows.Number: WRONG[int], list[int]: WRONG[list]}
WRONG[list[Attempt]] = (*WRONG[list], ["none"], [7])
_FIELDS = msgspec.structs.fields(rows.Row)
FAULTS = [(place, wrong) for place, one in enumerate(_FIELDS) for wrong in WRONG[one.type]]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def installation(server: services.Server) -> AsyncIterator[Installation]:
    made = Installation()
    async with clocked(server, lambda: made.now) as link:
        await made.begin(link)
        await made.lease()
        yield made


def ids() -> list[str]:
    return [f"a:x{n}" for n in range(len(FAULTS))]


async def put(installation: Installation, **options: Any) -> None:
    await installation.queue.put([Task(id=id, lane="a", **options) for id in [*ids(), "a:good"]])


async def damage(installation: Installation) -> None:
    """Each of the tasks in another way."""
    link = installation.link
    for (place, wrong), id in zip(FAULTS, ids(), strict=True):
        key = f"{link.prefix}t:{id}"
        row = msgspec.msgpack.decode(await link.command("HGET", key, "s"))
        row[place] = wrong
        # As an array of 16 bits, which is how rows begin whoever writes them.
        body = b"".join(map(msgspec.msgpack.encode, row))
        await link.command("HSET", key, "s", b"\xdc\x00\x26" + body)


async def all_aside(installation: Installation, *, counted: bool = True) -> None:
    """Every damaged one is in quarantine, and shown; and can be purged."""
    link, view = installation.link, installation.view
    lying = await link.command("ZRANGE", link.prefix + "quarantine", 0, -1)
    left = [fault for fault, id in zip(FAULTS, ids(), strict=True) if id.encode() not in lying]
    assert left == []
    found = await view.find(ids())
    assert all(one is not None and one.quarantined for one in found)
    total = (await view.stats()).total()
    assert total.quarantined == (len(FAULTS) if counted else 0)
    assert total.conserved
    verdicts = await installation.queue.control([Purge(id) for id in ids()])
    assert {one.did for one in verdicts} == {Did.APPLIED}
    total = (await view.stats()).total()
    assert (total.quarantined, total.conserved) == (0, True)


async def listed(installation: Installation) -> set[str]:
    """The ids of all tasks."""
    return {one.id for one in (await installation.view.list(Filter(), None, 5000)).items}


async def test_those_that_may_be_leased(installation: Installation) -> None:
    await put(installation)
    await damage(installation)
    assert {*ids(), "a:good"} <= await listed(installation)
    got = [id for _ in range(5) for id in await installation.lease()]
    assert got == ["a:good"]
    await all_aside(installation)


async def test_those_that_came_back(installation: Installation) -> None:
    await put(installation)
    tokens = await installation.lease(len(FAULTS) + 1)
    await installation.queue.put([Task(id="a:behind", lane="a")])
    for id, token in tokens.items():
        await installation.settle(id, token, HandBack())
    await damage(installation)
    got = [id for _ in range(5) for id in await installation.lease()]
    assert sorted(got) == ["a:behind", "a:good"]
    await all_aside(installation)


async def test_those_that_wait_for_their_time(installation: Installation) -> None:
    await put(installation, delay=50.0)
    await damage(installation)
    await installation.passes(51.0)
    assert set(await installation.lease()) == {"a:good", "a:later"}
    await all_aside(installation)


async def test_those_that_wait_for_their_time_when_a_lease_finds_them(
    installation: Installation,
) -> None:
    await put(installation, delay=50.0)
    await damage(installation)
    installation.now += 51.0
    got = [id for _ in range(3) for id in await installation.lease()]
    assert sorted(got) == ["a:good", "a:later"]
    await all_aside(installation)


async def test_those_that_wait_too_long(installation: Installation) -> None:
    await put(installation, queue_timeout=50.0)
    await damage(installation)
    await installation.passes(51.0)
    await all_aside(installation)
    assert set(await installation.lease()) == {"a:later"}


async def test_those_that_are_parked(installation: Installation) -> None:
    await put(installation, key="z")
    for id, token in (await installation.lease(len(FAULTS) + 1)).items():
        await installation.settle(id, token, Parked())
    await damage(installation)
    lines = await installation.queue.parked(["a"], None, 9)
    assert [one.key for one in lines.items] == ["k", "z"]
    [verdict] = await installation.queue.control([Unpark("a", "z", 500)])
    assert (verdict.did, verdict.count) == (Did.APPLIED, 1)
    await all_aside(installation)


async def test_those_that_run(installation: Installation) -> None:
    await put(installation)
    tokens = await installation.lease(len(FAULTS) + 1)
    await damage(installation)
    ends = [Settle(id, token, Success()) for id, token in tokens.items()]
    found = dict(zip(tokens, await installation.queue.settle(ends), strict=True))
    assert {id for id, one in found.items() if one is Settled.APPLIED} == {"a:good"}
    await all_aside(installation)


async def test_those_whose_worker_is_dead(installation: Installation) -> None:
    await put(installation)
    await installation.lease(len(FAULTS) + 1)
    await damage(installation)
    installation.held.clear()
    await installation.beat()  # by which they are handed back, as nobody knows of them
    assert set(await installation.lease()) == {"a:early", "a:good", "a:held", "a:ready"}
    await all_aside(installation)


async def test_those_that_are_over(installation: Installation) -> None:
    await put(installation, result_ttl=50.0)
    for id, token in (await installation.lease(len(FAULTS) + 1)).items():
        await installation.settle(id, token, Success())
    await damage(installation)
    await installation.passes(51.0)
    assert "a:good" not in await listed(installation)
    await all_aside(installation, counted=False)


async def test_those_that_somebody_names(installation: Installation) -> None:
    await put(installation)
    await damage(installation)
    verdicts = await installation.queue.control([Cancel(id) for id in ids()])
    assert {one.did for one in verdicts} == {Did.UNKNOWN}
    await all_aside(installation)


async def test_those_that_a_put_names(installation: Installation) -> None:
    await put(installation)
    await damage(installation)
    answers = await installation.queue.put([Task(id=id, lane="a") for id in ids()])
    assert {one.put for one in answers} == {Put.DUPLICATE}


def test_the_scripts_name_the_values_in_their_order() -> None:
    found = re.search(r"local function row_of\(at, ([\w, \n]+)\)", source("lib/row"))
    assert found is not None
    assert re.split(r",\s*", found[1]) == [one.name for one in _FIELDS]
