"""Four worker processes on one SQLite file: everything runs, and nothing runs twice."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest

from support import short_app
from support.processes import cli

TASKS = 20_000
#: Longest run of one task (milliseconds).
LONGEST = 50.0


@pytest.mark.anyio
@pytest.mark.timeout(300)
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_four_processes_lose_nothing_and_start_nothing_twice(
    tmp_path: Path, anyio_backend: str
) -> None:
    url = f"sqlite:///{tmp_path}/four.db"
    log = tmp_path / "log.txt"
    chance = random.Random(20_000)
    app, short = short_app.make(url)
    async with app:
        lengths = [chance.uniform(0, LONGEST) for _ in range(TASKS)]
        ids: list[str] = []
        with cli(url, log, "worker", "support.short_app:app", "--processes", "4") as workers:
            for n in range(0, TASKS, 2_000):
                ids += [
                    handle.id
                    for handle in await app.submit_many(
                        short.call(ms) for ms in lengths[n : n + 2_000]
                    )
                ]
            for id in ids:
                await app.handle(id).result(timeout=120)
            workers.send()
            assert await workers.ended(60) == 0
        async with app.connect() as connection:
            stats = await connection.faces.needed("view").stats()
    lines = [line.split() for line in log.read_text().splitlines()]
    starts = Counter(line[1] for line in lines if line[0] == "start")
    ends = Counter(line[1] for line in lines if line[0] == "end")
    assert set(starts) == set(ids) == set(ends)
    assert [id for id, n in starts.items() if n > 1] == []
    assert len({line[2] for line in lines}) == 4, "every process took part"
    total = stats.total()
    assert (total.accepted, total.success, total.live) == (TASKS, TASKS, 0)
    assert total.conserved
