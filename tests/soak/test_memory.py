"""The memory run in small, and its arithmetic."""

from __future__ import annotations

from pathlib import Path

import pytest

from soak.memory import Sample, drain, grown


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_workers_memory_is_flat_while_it_drains(tmp_path: Path, anyio_backend: str) -> None:
    """Ten thousand tasks only warm it up, which takes some 15 MB: more would be a leak."""
    samples = await drain(10_000, tmp_path, 0.2)
    assert samples[-1].done == 10_000
    assert grown(samples, 10_000) < 25_000_000


def test_growth_counts_from_the_warm_worker_to_the_largest_sample() -> None:
    points = [(5, 10), (10, 30), (50, 90), (100, 80)]
    assert grown([Sample(0.0, done, size, size) for done, size in points], 100) == 60
