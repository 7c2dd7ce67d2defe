"""After random commands on tasks that meet each lies in its place, once, and all are counted."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

import pytest

import services
from support.crowds import Crowd
from support.redis_clock import ClockedLink, clocked
from xqueue_core.task import State
from xqueue_redis.rows import Row, read

pytestmark = pytest.mark.anyio

SEEDS, STEPS, EVERY = range(8), 200, 10
#: What the ledger counts that changes again.
LIVE = {"pending", "scheduled", "processing", "parked"}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def server() -> Iterator[services.Server]:
    with services.redis("redis7") as server:
        yield server


@pytest.mark.parametrize("seed", SEEDS)
async def test_every_task_lies_where_its_row_says(server: services.Server, seed: int) -> None:
    crowd = Crowd(seed)
    async with clocked(server, lambda: crowd.now) as link:
        await crowd.begin(link)
        for n in range(1, STEPS + 1):
            await crowd.step()
            if n % EVERY == 0:
                tasks = await rows(link)
                assert await places(link) == expected(tasks), crowd.log[-2 * EVERY :]
                assert await counted(link) == counts(tasks), crowd.log[-2 * EVERY :]
        amiss = [f"{link.prefix}{name}" for name in ("repair", "vanished", "quarantine")]
        assert await link.command("EXISTS", *amiss) == 0


async def names(link: ClockedLink, kind: str) -> list[str]:
    """The rest of the keys that begin so."""
    begin = link.prefix + kind
    found: list[bytes] = await link.command("KEYS", f"{begin}*")
    return [key.decode().removeprefix(begin) for key in found]


async def rows(link: ClockedLink) -> dict[str, Row]:
    """Every task's row."""
    found = {}
    for id in await names(link, "t:"):
        packed = await link.command("HGET", f"{link.prefix}t:{id}", "s")
        if packed is not None:  # else it has been purged, or expunged
            found[id] = read(packed)
    return found


async def places(link: ClockedLink) -> dict[str, list[str]]:
    """What each place names."""
    found: dict[str, list[str]] = {}
    for kind in ("r:", "early:", "line:", "done:", "later", "held:"):
        for name in await names(link, kind):
            key = link.prefix + kind + name
            if kind == "r:":
                entries = await link.command("XRANGE", key, "-", "+")
                ids = [fields[1] for _, fields in entries]
            elif kind == "held:":
                ids = await link.command("HKEYS", key)
            else:
                ids = await link.command("ZRANGE", key, 0, -1)
            if ids:
                found[kind + name] = sorted(id.decode() for id in ids)
    return found


def expected(tasks: dict[str, Row]) -> dict[str, list[str]]:
    """What each place is to name."""
    found = defaultdict(list)
    for id in sorted(tasks):
        found[_place(tasks[id])].append(id)
    return dict(found)


def _place(row: Row) -> str:
    if row.state is State.PROCESSING:
        return f"held:{row.worker}"
    if row.state is State.SCHEDULED:
        return "later"
    if row.state is not State.PENDING:
        return f"done:{row.lane}"
    if row.parked:
        return f"line:{row.lane}:{row.key}"
    return f"{'r' if row.entry else 'early'}:{row.lane}:{row.priority}"


async def counted(link: ClockedLink) -> dict[str, int]:
    """What the ledger and the lanes' levels count."""
    found: Counter[str] = Counter()
    flat = await link.command("HGETALL", f"{link.prefix}counts")
    for name, n in zip(flat[::2], flat[1::2], strict=True):
        lane, _, field = name.decode().split("/")
        if field in LIVE:
            found[f"{lane} {field}"] += int(n)
    for lane in await names(link, "ready:"):
        flat = await link.command("HGETALL", f"{link.prefix}ready:{lane}")
        for level, n in zip(flat[::2], flat[1::2], strict=True):
            found[f"{lane} level {int(level)}"] += int(n)
    return {name: n for name, n in found.items() if n}


def counts(tasks: dict[str, Row]) -> dict[str, int]:
    """What they are to count."""
    found: Counter[str] = Counter()
    for row in tasks.values():
        if row.state in LIVE:
            found[f"{row.lane} {row.state}"] += 1
        if row.state is State.PENDING:
            found[f"{row.lane} parked" if row.parked else f"{row.lane} level {row.priority}"] += 1
    return dict(found)
