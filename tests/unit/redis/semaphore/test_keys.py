"""The keys of permits in the server: their cost, their end, and what damages them."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from redis.asyncio import Redis

from support.asking import LEASE, ask, grants, pass_time, renew, run_busy, take, wish
from support.permit_link import Links, PermitLink
from support.stores import FakeClock
from xqueue_core.permits import Grant, Keep, Permit, Request
from xqueue_redis.semaphore import RedisSemaphore

pytestmark = pytest.mark.anyio


def keyed(count: int, **more: Any) -> list[Request]:
    """As many wishes, each for a key of its own with a limit of 1."""
    return [wish(f"job:{n}", key=f"key:a:{n}", limit=1, stamp=1.0, **more) for n in range(count)]


async def commands(redis: Redis) -> int:
    """How many commands scripts have given since the statistics were reset."""
    stats = await redis.info("commandstats")
    ours = ("cmdstat_config", "cmdstat_fcall", "cmdstat_info", "cmdstat_set|clock")
    return sum(one["calls"] for name, one in stats.items() if not name.startswith(ours))


# -- what it costs ---------------------------------------------------------------------------


async def test_a_call_costs_few_commands_however_many_keys_it_names(
    semaphore: RedisSemaphore, redis: Redis
) -> None:
    wishes = keyed(200)
    await semaphore.set_limit("k", 1)
    await redis.config_resetstat()
    assert await grants(semaphore, *wishes) == [Grant.GRANTED] * 200
    assert await grants(semaphore, *wishes) == [Grant.GRANTED] * 200
    await renew(semaphore, "w", *(Permit(one.id, one.key, 1) for one in wishes))
    assert await commands(redis) <= 30


async def test_what_changes_nothing_writes_nothing(semaphore: RedisSemaphore, redis: Redis) -> None:
    await semaphore.set_limit("k", 1)
    await take(semaphore, "a")
    await grants(semaphore, wish("b", "x"), wish("c", "y", queue=False))
    await redis.config_resetstat()
    for _ in range(5):
        found = await grants(semaphore, wish("b", "x"), wish("c", "y", queue=False), wish("a"))
        assert found == [Grant.WAITING, Grant.DENIED, Grant.GRANTED]
        assert await grants(semaphore, wish("d", key="free")) == [Grant.FREE]
        await semaphore.release([Permit("never", "k"), Permit("never", "unused")])
    stats = await redis.info("commandstats")
    written = {"cmdstat_mset", "cmdstat_hset", "cmdstat_hdel", "cmdstat_rpush", "cmdstat_del"}
    assert not written & set(stats)
    assert sorted(await redis.keys("{test}:s:*")) == [b"{test}:s:k"]


async def test_thousands_of_keys_in_one_call(link: PermitLink) -> None:
    """More than Lua's stack holds."""
    link.timeout, semaphore = 30.0, link.semaphore
    wishes = keyed(9_000)
    answers = await ask(semaphore, *wishes)
    assert {answer.grant for answer in answers} == {Grant.GRANTED}
    held = [Permit(w.id, w.key, a.token) for w, a in zip(wishes, answers, strict=True)]
    assert await renew(semaphore, "w", *held) == [Keep.KEPT] * 9_000
    await semaphore.release(held)
    shown = await semaphore.inspect([one.key for one in held])
    assert all(not one.holders for one in shown)


async def test_thousands_of_holders_and_waiters_of_one_key(link: PermitLink) -> None:
    link.timeout, semaphore = 30.0, link.semaphore
    await semaphore.set_limit("k", 3_000)
    wishes = [wish(f"{n}", f"w~{n % 2_500}") for n in range(6_000)]
    found = await ask(semaphore, *wishes)
    assert [one.grant for one in found] == [Grant.GRANTED] * 3_000 + [Grant.WAITING] * 3_000
    assert [one.place for one in found[3_000:]] == list(range(1, 3_001))
    held = [Permit(w.id, "k", a.token) for w, a in zip(wishes[:3_000], found, strict=False)]
    await semaphore.release(held[:10])
    [shown] = await semaphore.inspect(["k"])
    assert list(shown.holders) == [one.id for one in wishes[10:3_010]]
    assert shown.waiters == [one.id for one in wishes[3_010:]]


async def test_a_limit_beyond_what_lua_counts_is_as_good_as_none(
    semaphore: RedisSemaphore,
) -> None:
    await semaphore.set_limit("k", 10**30)
    assert await grants(semaphore, wish("a", limit=10**40, stamp=1.0)) == [Grant.GRANTED]
    assert (await semaphore.inspect(["k"]))[0].limit == 2**53


async def test_a_key_that_is_asked_for_twice_is_shown_twice(
    semaphore: RedisSemaphore, clock: FakeClock
) -> None:
    await semaphore.set_limit("k", 1)
    await take(semaphore, "a")
    await run_busy(semaphore, clock, LEASE + 2, "w")
    one, two = await semaphore.inspect(["k", "k"])
    assert one == two
    assert one.holders == {"a": "w"}


# -- how they end ----------------------------------------------------------------------------


async def test_a_key_of_no_use_goes_by_itself(semaphore: RedisSemaphore, redis: Redis) -> None:
    [answer] = await ask(semaphore, wish("a", limit=1, stamp=1.0))
    assert await redis.ttl("{test}:s:k") == -1
    await semaphore.release([Permit("a", "k", answer.token)])
    assert 25 < await redis.ttl("{test}:s:k") <= 30
    await redis.expire("{test}:s:k", 9)
    await semaphore.set_limit("k", None)
    assert await redis.ttl("{test}:s:k") <= 9
    await ask(semaphore, wish("b"))
    assert await redis.ttl("{test}:s:k") == -1


async def test_a_key_forgets_the_workers_that_are_through_with_it(
    semaphore: RedisSemaphore, redis: Redis
) -> None:
    await semaphore.set_limit("k", 2)
    for n in range(100):
        await ask(semaphore, wish(f"{n}", f"w~{n}"))
        await semaphore.release([Permit(f"{n - 1}", "k")])
    assert await redis.strlen("{test}:s:k") < 200
    assert (await semaphore.inspect(["k"]))[0].holders == {"99": "w~99"}


async def test_a_wish_of_a_worker_that_was_dead_is_a_new_one_though_there_is_room(
    semaphore: RedisSemaphore, clock: FakeClock
) -> None:
    await semaphore.set_limit("k", 5)
    old = await take(semaphore, "a")
    await run_busy(semaphore, clock, LEASE + 6, "other")
    new = await take(semaphore, "a")
    assert new.token > old.token
    assert await renew(semaphore, "w", old, new) == [Keep.LOST, Keep.KEPT]


async def test_the_registrations_of_the_dead_go_some_at_a_time(
    semaphore: RedisSemaphore, redis: Redis, clock: FakeClock
) -> None:
    for first in range(0, 2_500, 500):
        await ask(semaphore, *(wish(f"{n}", f"w~{n}") for n in range(first, first + 500)))
    assert await redis.hlen("{test}:permits") == 2_500
    left = []
    for _ in range(60):
        await run_busy(semaphore, clock, 1, "living")
        left.append(await redis.hlen("{test}:permits"))
    assert left[-1] == 1
    assert max(before - after for before, after in pairwise(left)) <= 1_000


# -- what damages them -----------------------------------------------------------------------


#: What is packed for a key that nobody uses, but for its last three arrays.
_BEGINNING = b"\xff\xc2\x00\xff\x00\x00\xa0\xff"
RUBBISH = {
    "another type": None,
    "nothing": b"",
    "a map": b"\x81\xa1a\x01",
    "numbers": b"\x01" * 11,
    "too few": _BEGINNING + b"\x90\x90",
    "half a worker": _BEGINNING + b"\x92\xa1w\x01" + b"\x90\x90",
    "half a holder": _BEGINNING + b"\x90" + b"\x92\xa1h\x01" + b"\x90",
    "half a waiter": _BEGINNING + b"\x90\x90" + b"\x92\xa1w\x01",
    "other values": _BEGINNING + b"\x90" + b"\x94\x01\x01\x01\x01" + b"\x90",
}


@pytest.mark.parametrize("rubbish", RUBBISH.values(), ids=RUBBISH)
async def test_a_damaged_key_grants_nothing_for_a_lease(
    semaphore: RedisSemaphore,
    redis: Redis,
    clock: FakeClock,
    caplog: pytest.LogCaptureFixture,
    rubbish: bytes | None,
) -> None:
    await semaphore.set_limit("k", 3)
    held = await take(semaphore, "a")
    await redis.delete("{test}:s:k")
    if rubbish is None:
        await redis.rpush("{test}:s:k", "a list")
    else:
        await redis.set("{test}:s:k", rubbish)
    renewed = await semaphore.renew("w", [held], ["k", "none"], LEASE)
    assert (renewed.permits, renewed.versions) == ([Keep.LOST], {"none": 0})
    await semaphore.release([held])
    assert (await semaphore.inspect(["k"]))[0].holders == {}
    wishes = wish("b"), wish("c")
    assert await grants(semaphore, *wishes) == [Grant.WAITING] * 2
    await run_busy(semaphore, clock, LEASE + 1, "w")
    assert await grants(semaphore, *wishes) == [Grant.GRANTED, Grant.WAITING]
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == [
        "the permits of key 'k' cannot be decoded"
    ]


@pytest.mark.parametrize("name", ["permits", "permits-mark"])
async def test_something_else_in_place_of_what_all_share_stops_nobody(
    semaphore: RedisSemaphore, redis: Redis, name: str
) -> None:
    await semaphore.set_limit("k", 1)
    await take(semaphore, "a")
    await redis.delete(f"{{test}}:{name}")
    await redis.zadd(f"{{test}}:{name}", {"something": 1, "else": 2})
    assert await grants(semaphore, wish("b", key="other")) == [Grant.FREE]
    await renew(semaphore, "w")
    assert (await semaphore.inspect(["k"]))[0].limit == 1


async def test_something_else_in_place_of_what_wakes_a_worker_stops_nobody(
    semaphore: RedisSemaphore, redis: Redis
) -> None:
    await semaphore.set_limit("k", 1)
    held = await take(semaphore, "a")
    await grants(semaphore, wish("b", "x"))
    await redis.set("{test}:permit:x", "something else")
    await semaphore.release([held])
    assert await redis.lrange("{test}:permit:x", 0, -1) == [b"k"]
    assert await grants(semaphore, wish("b", "x")) == [Grant.GRANTED]


async def test_a_damaged_registration_counts_as_none(
    semaphore: RedisSemaphore, redis: Redis
) -> None:
    await semaphore.set_limit("k", 1)
    held = await take(semaphore, "a")
    await redis.hset("{test}:permits", "w", b"\xc1")
    assert await grants(semaphore, wish("b", "x")) == [Grant.GRANTED]
    assert await renew(semaphore, "w", held) == [Keep.LOST]


async def test_it_works_while_memory_is_full(
    semaphore: RedisSemaphore, redis: Redis, links: Links
) -> None:
    await semaphore.set_limit("k", 1)
    held = await take(semaphore, "a")
    other = links(None).semaphore
    await other.inspect(["k"])
    await redis.config_set("maxmemory", "1")
    try:
        assert (await other.inspect(["k"]))[0].limit == 1
        assert (await other.renew("w", [held], ["k"], LEASE)).versions["k"] > 0
        await other.release([held])
        await other.set_limit("k", 2)
        assert await grants(other, wish("b", "x"), wish("c", "y")) == [Grant.GRANTED] * 2
    finally:
        await redis.config_set("maxmemory", "0")


# -- the server's clock ----------------------------------------------------------------------


async def run_busy_holding(
    semaphore: RedisSemaphore, clock: FakeClock, seconds: float, held: Permit
) -> None:
    """Time passes while this is renewed, and kept."""
    for _ in range(int(seconds * 2)):
        assert await renew(semaphore, "w", held) == [Keep.KEPT]
        pass_time(clock, 0.5)


async def test_a_clock_that_is_set_back_keeps_neither_the_dead_nor_drops_the_living(
    semaphore: RedisSemaphore, clock: FakeClock
) -> None:
    """By an hour: nobody is dropped for a lease, then the dead are, as at any other time."""
    await semaphore.set_limit("k", 2)
    dead, held = await take(semaphore, "dead", "gone"), await take(semaphore, "a")
    await renew(semaphore, "gone", dead)
    await renew(semaphore, "w", held)
    pass_time(clock, -3600.0)
    for _ in range(int(LEASE * 2) - 2):
        assert await renew(semaphore, "w", held) == [Keep.KEPT]
        assert await grants(semaphore, wish("b", "x")) == [Grant.WAITING]
        pass_time(clock, 0.5)
    await run_busy_holding(semaphore, clock, 4, held)
    assert await grants(semaphore, wish("b", "x")) == [Grant.GRANTED]


async def test_a_clock_that_is_set_forward_drops_nobody(
    semaphore: RedisSemaphore, clock: FakeClock
) -> None:
    await semaphore.set_limit("k", 1)
    held = await take(semaphore, "a")
    await renew(semaphore, "w", held)
    pass_time(clock, 3600.0)
    assert await grants(semaphore, wish("b", "x")) == [Grant.WAITING]
    assert await renew(semaphore, "w", held) == [Keep.KEPT]
