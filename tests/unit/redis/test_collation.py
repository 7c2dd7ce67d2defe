"""Lua compares strings as the server's locale says; what is read in pages follows their bytes."""

from __future__ import annotations

import os
import string
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

import services
from support.redis_links import command, made
from xqueue_core.abc import Faces, Role
from xqueue_core.calls import Beat, Settle, Want
from xqueue_core.task import Parked, State, Task
from xqueue_core.views import Filter
from xqueue_redis import RedisBackend

pytestmark = pytest.mark.anyio

NAMES = ["a", "B", "c", "D", "e", "F", "g", "H"]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[services.Server]:
    """One with a locale in which `a` comes before `B`, as in most but C."""
    folder = tmp_path_factory.mktemp("locales")
    _make_locale(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOCPATH", str(folder))
        patch.setenv("LC_ALL", "folded")
        with services.redis() as started:
            yield started


def _make_locale(folder: Path) -> None:
    """With `localedef` alone: a system need not have any locale but C."""
    symbols = [f"<U{n:04X}>" for n in range(128)]
    charmap = [
        *("<code_set_name> ANSI_X3.4-1968", "<mb_cur_min> 1", "<mb_cur_max> 1"),
        *("<escape_char> /", "CHARMAP"),
        *(f"{symbol} /x{n:02x} c{n}" for n, symbol in enumerate(symbols)),
        "END CHARMAP",
    ]
    order = sorted(range(128), key=lambda n: (chr(n).lower(), chr(n) in string.ascii_uppercase))
    locale = [
        *("escape_char /", "comment_char %", "LC_COLLATE", "order_start forward"),
        *(symbols[n] for n in order),
        *("order_end", "END LC_COLLATE"),
    ]
    for name, lines in (("charmap", charmap), ("locale", locale)):
        (folder / name).write_text("\n".join([*lines, ""]), "ascii")
    given = ["-i", "locale", "-f", "charmap", "./folded"]
    # It warns of what the locale does not have, and then answers 1.
    done = subprocess.run(
        ["localedef", "--no-archive", "-c", *given],
        cwd=folder,
        capture_output=True,
        check=False,
        text=True,
    )
    assert (folder / "folded" / "LC_COLLATE").exists(), done.stderr


@pytest.fixture
async def faces(server: services.Server) -> AsyncIterator[Faces]:
    assert await command(server, "EVAL", "return tostring('a' < 'B')", 0) == b"true"
    namespace = f"n{os.urandom(4).hex()}"
    async with RedisBackend().open(made(server.url, namespace=namespace), Role.CLIENT) as opened:
        yield opened


async def _listed(faces: Faces, *states: State) -> list[str]:
    """All ids, in pages of two."""
    assert faces.view is not None
    found: list[str] = []
    after: str | None = None
    for _ in NAMES:
        page = await faces.view.list(Filter(states=frozenset(states)), after, 2)
        found += [one.id for one in page.items]
        after = page.next
        if after is None:
            break
    return found


async def test_every_task_of_the_same_time_is_listed(faces: Faces) -> None:
    ids = [f"t:{name}" for name in NAMES]
    later = time.time() + 3600.0
    await faces.queue.put([Task(id=id, lane="t", run_at=later) for id in ids])
    assert await _listed(faces, State.SCHEDULED) == sorted(ids)


async def test_every_task_of_a_worker_is_listed(faces: Faces) -> None:
    ids = [f"t:{name}" for name in NAMES]
    await faces.queue.put([Task(id=id, lane="t") for id in ids])
    await faces.queue.extend(Beat(worker="w"), [])
    await faces.queue.lease([Want("t", 9)], 9, 1, "w", 0.0)
    assert await _listed(faces, State.PROCESSING) == sorted(ids)


async def test_every_line_is_told(faces: Faces) -> None:
    lines = [(lane, key) for lane in ("Zoo", "apple") for key in NAMES]
    await faces.queue.put([Task(id=f"{lane}:{key}", lane=lane, key=key) for lane, key in lines])
    await faces.queue.extend(Beat(worker="w"), [])
    leased = await faces.queue.lease([Want("Zoo", 9), Want("apple", 9)], 18, 1, "w", 0.0)
    ends = [Settle(one.task.id, one.token, Parked()) for one in leased.deliveries]
    await faces.queue.settle(ends)
    found: list[tuple[str, str]] = []
    after: str | None = None
    for _ in lines:
        page = await faces.queue.parked(["Zoo", "apple"], after, 3)
        found += [(one.lane, one.key) for one in page.items]
        after = page.next
        if after is None:
            break
    assert found == sorted(lines)
