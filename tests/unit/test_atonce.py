"""Coroutines that never wait are carried out anywhere; others are refused."""

from __future__ import annotations

import asyncio

import pytest

from xqueue_core.atonce import at_once


async def never_waits(n: int) -> int:
    return n + 1


async def nested(n: int) -> int:
    return await never_waits(await never_waits(n))


async def waits() -> None:
    await asyncio.sleep(0)


def test_the_result_is_there_at_once() -> None:
    assert at_once(nested(1)) == 3


def test_what_it_raises_is_raised() -> None:
    async def raises() -> None:
        raise KeyError("k")

    with pytest.raises(KeyError):
        at_once(raises())


def test_what_waits_is_refused() -> None:
    with pytest.raises(RuntimeError, match="something to wait for"):
        at_once(waits())
