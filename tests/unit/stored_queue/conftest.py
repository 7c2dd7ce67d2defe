"""A bench for every test here, audited at its end."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from support.queues import Bench


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    """A queue over memory; whatever the test did to it, the ledger is right in the end."""
    bench = Bench()
    yield bench
    assert bench.records.waiting == 0, "something that was to happen did not"
    await bench.audit()
