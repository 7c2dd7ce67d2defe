"""One app on several event loops, and in a forked child."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from support.apps import declare, make_app
from xqueue_core import Handle, State, Unsupported

pytestmark = pytest.mark.anyio


def test_a_loop_for_each_call_works(tmp_path: Path) -> None:
    app = make_app(f"sqlite:///{tmp_path}/tasks.db")
    thumbnail = declare(app)
    ids = [asyncio.run(thumbnail.submit(f"{n}.png")).id for n in range(3)]
    assert asyncio.run(app.handle(ids[0]).state()) is State.PENDING


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
