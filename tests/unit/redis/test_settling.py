"""How outcomes are told to Redis: portion after portion, none of them too large for a slow line."""

from __future__ import annotations

from typing import Any, cast

import pytest

from xqueue_core.calls import Settle, Settled
from xqueue_core.errors import Refused, Unavailable, Unknown
from xqueue_core.stored.options import StoredOptions
from xqueue_core.task import Failed, Failure, Success
from xqueue_redis.connection import Link
from xqueue_redis.portions import BYTES
from xqueue_redis.queue import PORTION, RedisQueue

pytestmark = pytest.mark.anyio

KIB = 1024


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Scripts:
    """A link that applies everything, but for the calls that ``errors`` names."""

    prefix = "{n}:"

    def __init__(self, errors: dict[int, Exception] | None = None) -> None:
        self.calls: list[list[str]] = []
        self.bytes: list[int] = []
        self._errors = errors or {}

    async def run(self, name: str, *given: Any) -> list[int]:
        assert name == "settle"
        self.calls.append(list(given[::5]))
        self.bytes.append(sum(len(one) for one in given if not isinstance(one, int)))
        if error := self._errors.get(len(self.calls)):
            raise error
        return [2] * len(given[::5])


def queue(link: Scripts) -> RedisQueue:
    return RedisQueue(cast(Link, link), StoredOptions())


def ends(*sizes: int) -> list[Settle]:
    return [Settle(f"a:{n}", 1, Success(b"x" * size)) for n, size in enumerate(sizes)]


async def test_a_portion_ends_at_a_count_or_at_its_bytes() -> None:
    link = Scripts()
    outcomes = ends(*[0] * (PORTION + 1), *[400 * KIB] * 5, 2 * BYTES, 1)
    assert await queue(link).settle(outcomes) == [Settled.APPLIED] * len(outcomes)
    assert [id for ids in link.calls for id in ids] == [one.id for one in outcomes]
    assert [len(ids) for ids in link.calls] == [PORTION, 3, 2, 1, 1, 1]
    assert max(link.bytes[:4]) < BYTES


async def test_failures_have_bytes_too() -> None:
    link = Scripts()
    failed = Failed(Failure("exception", "E", "no", "x" * 300 * KIB))
    await queue(link).settle([Settle(f"a:{n}", 1, failed) for n in range(4)])
    assert [len(ids) for ids in link.calls] == [3, 1]


@pytest.mark.parametrize("error", [Unavailable("away"), Unknown("no answer"), Refused("never")])
async def test_what_was_applied_before_a_portion_failed_need_not_be_sent_again(
    error: Exception,
) -> None:
    link, outcomes = Scripts({2: error}), ends(*[500 * KIB] * 6)
    answers = await queue(link).settle(outcomes)
    assert answers == [Settled.APPLIED] * 2 + [Settled.UNKNOWN] * 4
    assert len(link.calls) == 2, "it is the same over again"
    with pytest.raises(type(error)):
        await queue(Scripts({1: error})).settle(outcomes[2:])
