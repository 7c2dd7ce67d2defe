"""One app on several event loops, and in a forked child."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from support.apps import declare, make_app
from xqueue_core import Handle, State, Unsupported

ROOT = Path(__file__).parents[3]

pytestmark = pytest.mark.anyio


def test_a_loop_for_each_call_works(tmp_path: Path) -> None:
    app = make_app(f"sqlite:///{tmp_path}/tasks.db")
    thumbnail = declare(app)
    ids = [asyncio.run(thumbnail.submit(f"{n}.png")).id for n in range(3)]
    assert asyncio.run(app.handle(ids[0]).state()) is State.PENDING


#: Closes loops on which an app is open: while it submits, and while it waits.
LEAVES = """
import asyncio, gc, logging, sys
from support.apps import declare, make_app

logging.basicConfig(level=logging.WARNING)
app = make_app("sqlite:///tasks.db")
thumbnail = declare(app)

async def main(n):
    handle = await thumbnail.submit(f"{n}.png")
    waiting = asyncio.create_task(handle.wait())
    await asyncio.sleep(0.1)
    waiting.cancel()
    await asyncio.wait([waiting])

for n in range(3):
    loop = asyncio.new_event_loop()
    loop.run_until_complete(main(n))
    loop.close()
gc.collect()
"""


@pytest.mark.parametrize("shown", [True, False])
def test_a_loop_that_is_closed_with_the_app_open_is_told_of_once(
    tmp_path: Path, shown: bool
) -> None:
    paths = [ROOT, ROOT / "tests", *ROOT.glob("backends/*")]
    done = subprocess.run(
        [sys.executable, *(["-W", "always::ResourceWarning"] if shown else []), "-c", LEAVES],
        cwd=tmp_path,
        env={"PYTHONPATH": ":".join(map(str, paths))},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0
    assert "destroyed" not in done.stderr
    told = re.findall(r"ResourceWarning: (.*)", done.stderr)
    ours = [line for line in told if line.startswith("an event loop was closed while")]
    # Of the last one as well, if the collector finds it.
    assert len(ours) in ((2, 3) if shown else (0,))
    assert all("`async with app:` or `await app.aclose()`" in line for line in ours)
    if not shown:
        assert done.stderr == ""


def test_outside_a_loop_nothing_is_sent(tmp_path: Path) -> None:
    thumbnail = declare(make_app(f"sqlite:///{tmp_path}/tasks.db"))
    sending = thumbnail.submit("a.png")
    with pytest.raises(Unsupported, match="none is running here"):
        sending.send(None)


# Newer Pythons warn of any fork in a process with threads; SQLite's driver has some.
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_forked_child_submits_on_its_own_connection(tmp_path: Path) -> None:
    app = make_app(f"sqlite:///{tmp_path}/tasks.db")
    thumbnail = declare(app)

    async def parent() -> tuple[Handle[Any], int]:
        handle = await thumbnail.options(id="parent").submit("a.png")
        child = os.fork()
        if child == 0:
            code = 1
            try:
                asyncio.events._set_running_loop(None)
                asyncio.run(thumbnail.options(id="child").submit("b.png"))
                code = 0
            finally:
                os._exit(code)
        _, status = await asyncio.to_thread(os.waitpid, child, 0)
        states = [await app.handle(f"thumbnail:{name}").state() for name in ("parent", "child")]
        assert states == [State.PENDING, State.PENDING]
        await app.aclose()
        return handle, os.waitstatus_to_exitcode(status)

    handle, code = asyncio.run(parent())
    assert (handle.id, code) == ("thumbnail:parent", 0)
