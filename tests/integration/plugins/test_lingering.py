"""A worker ends although a plugin does not, whose code blocks a thread or cannot be cancelled."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from integration.plugins.test_held import plugged_app
from support import lingering_app
from support.hosts import Hosted
from support.lifecycle import logged
from support.processes import cli, notes
from support.recorder import Recorder
from support.workers import until
from xqueue_core.hooks import Hooks, Place, Site
from xqueue_core.worker import Exit

pytestmark = pytest.mark.anyio

#: The workers', and the seconds beyond it within which they end, their interpreter included.
GRACE, SOON = 1.0, 3.0


@pytest.mark.parametrize("processes", ["1", "2"])
@pytest.mark.parametrize("how", ["blocks", "swallows", "blocks when opened"])
async def test_a_process_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, processes: str
) -> None:
    monkeypatch.setenv(lingering_app.HOW, how)
    url, log = f"sqlite:///{tmp_path / 'tasks.db'}", tmp_path / "handlers.log"
    place = ("worker", "support.lingering_app:app", "--grace", str(GRACE))
    async with lingering_app.make(url) as app:
        with cli(url, log, *place, "--processes", processes) as process:
            if how == "blocks when opened":
                await until("all open it", lambda: len(notes(log)) == int(processes), 20)
            else:
                await logged(process, "serves", int(processes))
            process.send()
            assert await process.ended(GRACE + SOON) == 0
        async with app.connect() as connection:
            assert list(await connection.faces.needed("view").workers()) == []
    assert "is not waited for" in process.log()


async def test_its_exit_code_is_that_of_the_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(lingering_app.HOW, "fails")
    url, log = f"sqlite:///{tmp_path / 'tasks.db'}", tmp_path / "handlers.log"
    with cli(url, log, "worker", "support.lingering_app:app") as process:
        assert await process.ended() == 1
    assert "plugin 'lingering' cannot be opened: OSError: no collector" in process.log()


class Held(Recorder):
    """Cannot be closed until it is let go: it blocks a thread, or swallows its cancellation."""

    places = (Place.WORKER,)

    def __init__(self, *, blocks: bool) -> None:
        super().__init__()
        self.blocks = blocks
        self.opened, self.let_go = threading.Event(), threading.Event()
        self.loop: asyncio.AbstractEventLoop | None = None

    @asynccontextmanager
    async def open(self, settings: Any, site: Site) -> AsyncIterator[Hooks]:
        """Wait to be let go."""
        self.loop = asyncio.get_running_loop()
        self.opened.set()
        yield Hooks()
        if self.blocks:
            await asyncio.to_thread(self.let_go.wait)
        while not self.let_go.is_set():
            try:
                await asyncio.sleep(0.02)
            except asyncio.CancelledError:
                continue
        raise OSError("nobody is told of this any more")


@pytest.mark.parametrize("blocks", [True, False])
async def test_in_a_host_what_was_given_up_ends_quietly(
    url: str, host: str, blocks: bool, caplog: pytest.LogCaptureFixture
) -> None:
    held = Held(blocks=blocks)
    async with plugged_app(url, held=held) as app:

        @app.task
        async def job() -> None: ...

        one = Hosted(app, host, grace=0.1)
        one.start()
        try:
            await until("it is open", held.opened.is_set)
            one.worker.stop()
            assert await one.ended(GRACE + SOON) is None
            assert one.worker.exit is Exit.STOPPED
            assert one.worker.lingers
            assert held.loop is not None
            assert not held.loop.is_closed()
            one.worker.stop()  # which nobody minds
            one.worker.resize(3)
            caplog.clear()
        finally:
            held.let_go.set()
        await until("its loop is closed", held.loop.is_closed)
    assert not caplog.records
