"""A blocked acquire: what wakes it, what ends it, and what a wish that comes too late does."""

from __future__ import annotations

import logging
from typing import Any

import anyio
import msgspec
import pytest
from redis.asyncio import Redis

from support.asking import LEASE, ask, grants, pass_time, renew, run_busy, take, wish
from support.permit_link import Links, PermitLink
from support.stores import FakeClock
from xqueue_core.errors import ConfigError, InvalidTask, Unavailable, Unknown
from xqueue_core.permits import Grant, Keep, Permit
from xqueue_redis.semaphore import RedisSemaphore

pytestmark = pytest.mark.anyio

#: Seconds in which a test's own waiting must be over.
SOON = 5.0


@pytest.fixture
def real(links: Links) -> PermitLink:
    """A link with the server's own clock."""
    return links(None)


async def until_waits(link: PermitLink, key: str, id: str) -> None:
    """Until this request stands in line."""
    shown = link.semaphore
    with anyio.fail_after(SOON):
        while id not in (await shown.inspect([key]))[0].waiters:
            await anyio.sleep(0.005)


async def test_a_release_wakes_who_is_first_and_nobody_else(
    real: PermitLink, redis: Redis, links: Links
) -> None:
    first, second = links(None), links(None)
    semaphore = real.semaphore
    await semaphore.set_limit("k", 1)
    held = await take(semaphore, "a", "holder")
    found: dict[str, Any] = {}

    async def waits(link: PermitLink, id: str, seconds: float) -> None:
        own = link.semaphore
        found[id] = (await own.acquire([wish(id, worker=id, lease=60.0)], seconds))[0]

    async with anyio.create_task_group() as group:
        group.start_soon(waits, first, "first", SOON)
        await until_waits(real, "k", "first")
        group.start_soon(waits, second, "second", 0.3)
        await until_waits(real, "k", "second")
        await semaphore.release([held])
    assert found["first"].grant is Grant.GRANTED
    assert (found["second"].grant, found["second"].place) == (Grant.WAITING, 1)
    # It asked, waited for its whole time or until it was woken, and asked again.
    assert second.ran == ["permits/acquire"] * 2
    assert first.ran[0] == first.ran[-1] == "permits/acquire"
    assert await redis.keys("*permit:*") == []


async def test_a_removed_limit_wakes_all_who_wait(redis: Redis, link: PermitLink) -> None:
    semaphore = link.semaphore
    await semaphore.set_limit("k", 1)
    await take(semaphore, "a", "holder")
    await ask(semaphore, wish("b", "x"), wish("c", "x"), wish("d", "y"))
    await semaphore.set_limit("k", None)
    assert await redis.lrange("{test}:permit:x", 0, -1) == [b"k", b"k"]
    assert await redis.lrange("{test}:permit:y", 0, -1) == [b"k"]


async def test_what_wakes_lies_there_for_a_while_and_never_grows(
    redis: Redis, link: PermitLink
) -> None:
    semaphore = link.semaphore
    for n in range(40):
        await semaphore.set_limit("k", 1)
        await ask(semaphore, wish(f"{n}", "x"), wish(f"{n}'", "x"))
        await semaphore.set_limit("k", None)
        await semaphore.release([Permit(f"{n}", "k")])
    assert await redis.llen("{test}:permit:x") == 16
    assert 0 < await redis.ttl("{test}:permit:x") <= 10


async def test_a_cancelled_acquire_asks_no_more_and_its_grant_passes_on(
    link: PermitLink, clock: FakeClock
) -> None:
    semaphore = link.semaphore
    await semaphore.set_limit("k", 1)
    held = await take(semaphore, "a", "holder")
    with anyio.move_on_after(0.1) as scope:
        await semaphore.acquire([wish("gone", "x")], 60.0)
    assert scope.cancelled_caught
    asked = link.ran.count("permits/acquire")
    await grants(semaphore, wish("next", "y"))
    await semaphore.release([held])
    assert (await semaphore.inspect(["k"]))[0].holders == {"gone": "x"}
    pass_time(clock, 2.5)
    assert await grants(semaphore, wish("next", "y")) == [Grant.GRANTED]
    assert link.ran.count("permits/acquire") == asked + 2


async def test_a_blocked_acquire_ends_in_time(real: PermitLink) -> None:
    semaphore = real.semaphore
    await semaphore.set_limit("k", 1)
    await take(semaphore, "a")
    began = anyio.current_time()
    [answer] = await semaphore.acquire([wish("b", "x")], 0.25)
    assert answer.grant is Grant.WAITING
    assert 0.2 <= anyio.current_time() - began < SOON


async def test_a_wish_that_comes_too_late_does_nothing_and_is_made_again(
    link: PermitLink, semaphore: RedisSemaphore, clock: FakeClock
) -> None:
    await semaphore.set_limit("k", 1)
    await grants(semaphore, wish("a"))
    await semaphore.release([Permit("a", "k")])
    on_the_way = [7.5]
    sent: list[str] = []

    def delay(name: str) -> None:
        sent.append(name)
        pass_time(clock, on_the_way.pop() if on_the_way else 0.0)

    link.before = delay
    assert await grants(semaphore, wish("b")) == [Grant.GRANTED]
    assert sent == ["permits/acquire"] * 2
    on_the_way.append(6.0)
    assert await grants(semaphore, wish("c")) == [Grant.WAITING]
    assert sent == ["permits/acquire"] * 3


async def test_what_is_carried_out_too_late_changes_nothing(
    redis: Redis, link: PermitLink, clock: FakeClock
) -> None:
    semaphore = link.semaphore
    await semaphore.set_limit("k", 1)
    before = sorted(await redis.keys("{test}:*"))
    wishes = msgspec.msgpack.encode([["a", "k", "w", 15.0, True, False, -1, 0.0]])
    reply = await link.run("permits/acquire", link.run_id, f"{clock.wall - 0.1:.6f}", wishes)
    assert msgspec.msgpack.decode(reply) == [clock.wall, True, [], [], []]
    assert sorted(await redis.keys("{test}:*")) == before
    assert (await semaphore.inspect(["k"]))[0].holders == {}


async def test_a_failure_after_a_place_was_taken_does_not_say_that_nothing_happened(
    links: Links, link: PermitLink, clock: FakeClock
) -> None:
    keeper = links(clock).semaphore
    await keeper.set_limit("k", 1)
    await take(keeper, "a")
    sent: list[str] = []

    def cut(name: str) -> None:
        if sent:
            raise Unavailable("the server is gone")
        sent.append(name)

    link.before = cut
    semaphore = link.semaphore
    with pytest.raises(Unknown, match=r"places in line.*gone"):
        await semaphore.acquire([wish("b", "x")], 1.0)
    assert (await keeper.inspect(["k"]))[0].waiters == ["b"]


async def test_limits_below_1_are_refused(semaphore: RedisSemaphore) -> None:
    with pytest.raises(InvalidTask, match="key 'k': its limit is 0"):
        await semaphore.acquire([wish("a", limit=0)], 0)
    with pytest.raises(ConfigError, match="the limit of 'k' must be 1 or more"):
        await semaphore.set_limit("k", 0)


async def test_nothing_is_asked_for_nothing(semaphore: RedisSemaphore, link: PermitLink) -> None:
    assert await semaphore.acquire([], 5.0) == []
    assert await semaphore.inspect([]) == []
    await semaphore.release([])
    assert link.ran == []


async def test_a_permit_that_its_worker_does_not_know_of_is_told(
    semaphore: RedisSemaphore, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "xqueue.redis")
    await semaphore.set_limit("k", 1)
    held = await take(semaphore, "leaked")
    for _ in range(70):
        await run_busy(semaphore, clock, 0.5, "w", "other")
        await grants(semaphore, wish("wants", "other", queue=False))
    assert (await semaphore.inspect(["k"]))[0].holders == {"wants": "other"}
    assert await renew(semaphore, "w", held, lease=LEASE) == [Keep.LOST]
    told = [record.getMessage() for record in caplog.records]
    assert told == ["permit leaked of 'k': its worker does not know of it"]


async def test_what_is_given_back_meanwhile_is_not_told(
    semaphore: RedisSemaphore, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "xqueue.redis")
    await semaphore.set_limit("k", 2)
    released, _ = await take(semaphore, "released"), await take(semaphore, "leaked")
    for n in range(70):
        await run_busy(semaphore, clock, 0.5, "w", "other")
        await grants(semaphore, wish("wants", "other", queue=False))
        if n == int(2 * LEASE) + 6:
            await semaphore.release([released])
    told = [record.getMessage() for record in caplog.records]
    assert told == ["permit leaked of 'k': its worker does not know of it"]


async def test_permits_that_were_granted_together_are_young(
    semaphore: RedisSemaphore, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Their tokens are microseconds, each one more than the last: ahead of the clock."""
    caplog.set_level(logging.WARNING, "xqueue.redis")
    await semaphore.set_limit("k", 9)
    await renew(semaphore, "w", lease=LEASE)
    await ask(semaphore, *(wish(f"{n}") for n in range(9)))
    await grants(semaphore, wish("wants", "other", queue=False))
    # Nobody asks from here on, so a doubt that is there is one of before.
    await run_busy(semaphore, clock, LEASE + 2, "w", "other")
    assert len((await semaphore.inspect(["k"]))[0].holders) == 9
    assert not caplog.records
