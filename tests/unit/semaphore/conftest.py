"""A semaphore over each kind of store, with a clock that stands still."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from support.stores import FakeClock, open_records
from xqueue_core.stored.bell import LocalBell
from xqueue_core.stored.options import StoredOptions
from xqueue_core.stored.records import Records
from xqueue_core.stored.semaphore import StoredSemaphore


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(params=["memory", "sqlite-process"])
async def records(
    request: pytest.FixtureRequest, tmp_path: Path, clock: FakeClock
) -> AsyncIterator[Records]:
    async with open_records(request.param, tmp_path, clock) as records:
        yield records


@pytest.fixture
def bell() -> LocalBell:
    return LocalBell()


@pytest.fixture
def semaphore(records: Records, bell: LocalBell) -> StoredSemaphore:
    return StoredSemaphore(records, bell, StoredOptions())
