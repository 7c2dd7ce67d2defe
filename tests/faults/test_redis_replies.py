"""Each script of the Redis backend, called again after its call failed: no duplicate, no loss."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

import services
from services import Server
from support.lossy import Lossy, counts, leased, load, lossy, submitted
from support.workers import until
from xqueue_core.calls import (
    Beat,
    Cancel,
    Did,
    Held,
    Hold,
    Pause,
    Settle,
    Settled,
    Want,
)
from xqueue_core.permits import Grant, Keep, Permit, Request
from xqueue_core.task import Event, EventName, Parked, State, Success, Task
from xqueue_core.views import Filter
from xqueue_redis.scripts import names

pytestmark = pytest.mark.anyio

#: How a call is made that fails the first time.
Sure = Callable[[Callable[[], Awaitable[Any]]], Awaitable[Any]]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server for all, which knows the scripts."""
    with services.redis(aof=True) as started:
        asyncio.run(load(started))
        yield started


# -- tasks -------------------------------------------------------------------------------------


async def put(net: Lossy, sure: Sure) -> None:
    tasks = [Task(id=f"t:{id}", lane="l", unique_key=id) for id in "ab"]
    answers = await sure(lambda: net.faces.queue.put(tasks))
    assert {one.of for one in answers} <= {"", "t:a", "t:b"}
    found = await counts(net)
    assert (found["accepted"], found["pending"]) == (2, 2)
    assert sorted(one.task.id for one in await leased(net)) == ["t:a", "t:b"]


async def lease(net: Lossy, sure: Sure) -> None:
    await submitted(net, *"abc")
    await net.faces.queue.extend(Beat(worker="w"), [])
    answer = await sure(lambda: net.faces.queue.lease([Want("l", 2)], 2, 1, "w", 0))
    assert [one.task.id for one in answer.deliveries] == ["t:a", "t:b"]
    assert {one.attempt for one in answer.deliveries} == {1}
    rest = await net.faces.queue.lease([Want("l", 5)], 5, 2, "w", 0)
    assert [one.task.id for one in rest.deliveries] == ["t:c"]
    assert await counts(net) == {"accepted": 3, "processing": 3}


async def settle(net: Lossy, sure: Sure) -> None:
    await submitted(net, "a")
    [one] = await leased(net)
    outcome = Settle(one.task.id, one.token, Success(b"7"))
    [answer] = await sure(lambda: net.faces.queue.settle([outcome]))
    assert answer in (Settled.APPLIED, Settled.REPEATED)
    assert await counts(net) == {"accepted": 1, "success": 1}
    [info] = await net.faces.needed("view").find(["t:a"])
    assert (info.result, info.attempt, len(info.history)) == (b"7", 1, 1)


async def extend(net: Lossy, sure: Sure) -> None:
    await submitted(net, "a")
    [one] = await leased(net)
    beat = Beat(worker="w", answered=1, number=2)
    reply = await sure(lambda: net.faces.queue.extend(beat, [Held("t:a", one.token)]))
    assert reply.held == [Hold.KEPT]
    assert await counts(net) == {"accepted": 1, "processing": 1}


async def control(net: Lossy, sure: Sure) -> None:
    await submitted(net, "a", "b")
    wish = Cancel("t:a", "enough", request="r")
    [verdict] = await sure(lambda: net.faces.queue.control([wish]))
    assert verdict.did in (Did.APPLIED, Did.REPEATED)
    assert await counts(net) == {"accepted": 2, "canceled": 1, "pending": 1}


async def maintain(net: Lossy, sure: Sure) -> None:
    await submitted(net, "a", queue_timeout=0.05)
    [info] = await net.faces.needed("view").find(["t:a"])

    async def late() -> bool:
        return bool((await net.faces.queue.describe())["wall"] > info.expires_at)

    await until("it has waited too long", late)
    await sure(lambda: net.faces.queue.maintain(1.0))
    assert await counts(net) == {"accepted": 1, "timeout": 1}


async def aside(net: Lossy, sure: Sure) -> None:
    await submitted(net, "a", "b")
    await net.faces.queue.extend(Beat(worker="w"), [])
    await net.link.command("HSET", f"{net.link.prefix}t:t:a", "e", b"\xc1")
    answer = await sure(lambda: net.faces.queue.lease([Want("l", 2)], 2, 1, "w", 0))
    assert [one.task.id for one in answer.deliveries] == ["t:b"]
    [info] = await net.faces.needed("view").find(["t:a"])
    assert info.quarantined


async def parked(net: Lossy, sure: Sure) -> None:
    await submitted(net, *"ab", key="k")
    one, _ = await leased(net)
    await net.faces.queue.settle([Settle(one.task.id, one.token, Parked())])
    [line] = (await sure(lambda: net.faces.queue.parked(["l"], None, 10))).items
    assert (line.lane, line.key, line.waiting) == ("l", "k", 1)


# -- permits -----------------------------------------------------------------------------------


async def held(net: Lossy, id: str = "a") -> Permit:
    """One permit of the only one that there is."""
    request = Request(id=id, key="k", worker="w", limit=1)
    [answer] = await net.faces.needed("semaphore").acquire([request], 0)
    assert answer.grant is Grant.GRANTED
    return Permit(id, "k", answer.token)


async def shown(net: Lossy) -> tuple[list[str], list[str]]:
    """Who holds, and who waits."""
    [key] = await net.faces.needed("semaphore").inspect(["k"])
    return list(key.holders), key.waiters


async def permits_acquire(net: Lossy, sure: Sure) -> None:
    requests = [Request(id=id, key="k", worker="w", limit=1) for id in "ab"]
    answers = await sure(lambda: net.faces.needed("semaphore").acquire(requests, 0))
    assert [one.grant for one in answers] == [Grant.GRANTED, Grant.WAITING]
    assert await shown(net) == (["a"], ["b"])


async def permits_renew(net: Lossy, sure: Sure) -> None:
    permit = await held(net)
    semaphore = net.faces.needed("semaphore")
    renewed = await sure(lambda: semaphore.renew("w", [permit], ["k"], 15.0))
    assert list(renewed.permits) == [Keep.KEPT]
    assert await shown(net) == (["a"], [])


async def permits_release(net: Lossy, sure: Sure) -> None:
    permit = await held(net)
    await sure(lambda: net.faces.needed("semaphore").release([permit]))
    await held(net, "b")
    assert await shown(net) == (["b"], [])


async def permits_limit(net: Lossy, sure: Sure) -> None:
    await held(net)
    await sure(lambda: net.faces.needed("semaphore").set_limit("k", 2))
    [key] = await net.faces.needed("semaphore").inspect(["k"])
    assert (key.limit, list(key.holders)) == (2, ["a"])


async def permits_inspect(net: Lossy, sure: Sure) -> None:
    await held(net)
    [key] = await sure(lambda: net.faces.needed("semaphore").inspect(["k"]))
    assert list(key.holders) == ["a"]


# -- looking -----------------------------------------------------------------------------------


async def listed(net: Lossy, sure: Sure) -> None:
    await submitted(net, "a", "b")
    page = await sure(lambda: net.faces.needed("view").list(Filter(), None, 10))
    assert sorted(one.id for one in page.items) == ["t:a", "t:b"]


async def damaged(net: Lossy, sure: Sure) -> None:
    await submitted(net, "a")
    await net.link.command("HSET", f"{net.link.prefix}t:t:a", "s", b"\xc1")
    [info] = await sure(lambda: net.faces.needed("view").find(["t:a"]))
    assert info.quarantined


async def found(net: Lossy, sure: Sure) -> None:
    await submitted(net, "a", queue_timeout=60.0)
    await net.faces.queue.control([Pause(lane="l")])
    [info] = await sure(lambda: net.faces.needed("view").find(["t:a"]))
    assert info.state is State.PENDING
    assert info.expires_at > info.accepted_at


async def view_stats(net: Lossy, sure: Sure) -> None:
    await submitted(net, "a")
    stats = await sure(lambda: net.faces.needed("view").stats())
    assert stats.total().pending == 1


async def view_hashes(net: Lossy, sure: Sure) -> None:
    await net.faces.queue.extend(Beat(worker="w"), [])
    [worker] = await sure(lambda: net.faces.needed("view").workers())
    assert worker.beat.worker == "w"


# -- events ------------------------------------------------------------------------------------


async def notify_publish(net: Lossy, sure: Sure) -> None:
    await submitted(net, "a")
    [one] = await leased(net)
    event = Event("t:a", 1, EventName.PROGRESS, State.PROCESSING, 1.0, delivery=one.token,
                  data={"percent": 40.0})  # fmt: skip
    await sure(lambda: net.faces.needed("notifier").publish([event]))
    [info] = await net.faces.needed("view").find(["t:a"])
    assert info.progress is not None
    assert info.progress.percent == 40.0


async def notify_read(net: Lossy, sure: Sure) -> None:
    notifier, seen = net.faces.needed("notifier"), Filter(names=frozenset({EventName.ACCEPTED}))
    stream = notifier.subscribe(seen)
    first = asyncio.ensure_future(anext(stream))
    async with asyncio.timeout(20):
        while not first.done():
            await submitted(net, f"a{len(await _all(net))}")
    cursor = (await first).cursor
    await stream.aclose()
    await submitted(net, "last")

    async def rest() -> list[str]:
        found: list[str] = []
        async for notice in notifier.subscribe(seen, cursor):
            found.append(notice.event.id)
            if found[-1] == "t:last":
                break
        return found

    got = await sure(rest)
    every = [one.id for one in await _all(net)]
    assert len(got) == len(set(got))
    assert got == [id for id in every if id in got], "in order"
    assert set(got) >= {"t:last"}


async def _all(net: Lossy) -> list[Any]:
    page = await net.faces.needed("view").list(Filter(), None, 1000)
    return sorted(page.items, key=lambda one: one.rank)


#: What to do with each script.
WAYS: dict[str, Callable[[Lossy, Sure], Awaitable[None]]] = {
    "put": put,
    "lease": lease,
    "settle": settle,
    "extend": extend,
    "control": control,
    "maintain": maintain,
    "aside": aside,
    "parked": parked,
    "permits/acquire": permits_acquire,
    "permits/renew": permits_renew,
    "permits/release": permits_release,
    "permits/limit": permits_limit,
    "permits/inspect": permits_inspect,
    "view/find": found,
    "view/hashes": view_hashes,
    "view/names": listed,
    "view/pauses": found,
    "view/places": listed,
    "view/stats": view_stats,
    "view/where": damaged,
    "notify/publish": notify_publish,
    "notify/read": notify_read,
}
#: Asked by ``xqueue doctor`` alone, which says what it could not learn.
ELSEWHERE = {"rights"}


def test_no_script_is_forgotten() -> None:
    assert WAYS.keys() | ELSEWHERE == set(names())


@pytest.mark.parametrize("script", WAYS)
@pytest.mark.parametrize("fault", ["lost", "cut", "hole", "slow"])
async def test_a_call_that_failed_is_made_again(server: Server, script: str, fault: str) -> None:
    async with lossy(server, script) as net:
        await WAYS[script](net, getattr(net, fault))
