"""A lifespan that takes its time at its start, or blocks the loop there."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NoReturn

import anyio
import pytest

from support.apps import make_app
from support.hosts import HOSTS, Hosted
from support.workers import until
from xqueue_core import XQueue
from xqueue_core.worker import Exit, lifespan

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    """The event loop of the test."""
    return "asyncio"


class Slow:
    """An app with such a lifespan, and its worker."""

    def __init__(self, host: str, *, blocks: bool) -> None:
        self.entering, self.release = threading.Event(), threading.Event()
        self.ends: list[str] = []

        @asynccontextmanager
        async def made(app: XQueue) -> AsyncIterator[None]:
            self.entering.set()
            while not self.release.is_set():
                if blocks:
                    time.sleep(0.01)  # noqa: ASYNC251 - it blocks the loop on purpose
                else:
                    await anyio.sleep(0.01)
            yield
            await anyio.sleep(0.05)
            self.ends.append("left")

        self.app = make_app("memory://", lifespan=made)

        @self.app.task
        async def job() -> None: ...

        self.one = Hosted(self.app, host)


@pytest.mark.parametrize("host", HOSTS)
async def test_a_stop_while_it_blocks_the_loop_has_no_broker_asked(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def connect(role: object = None) -> NoReturn:
        raise AssertionError("it connects")

    slow = Slow(host, blocks=True)
    monkeypatch.setattr(slow.app, "connect", connect)
    slow.one.start()
    await until("it is being entered", slow.entering.is_set)
    slow.one.worker.stop()
    slow.release.set()
    assert await slow.one.ended() is None
    assert slow.one.worker.exit is Exit.STOPPED
    assert not slow.one.worker.begun
    assert slow.ends == ["left"]


@pytest.mark.parametrize("blocks", [False, True])
async def test_what_takes_long_is_said(
    blocks: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(lifespan, "SLOW", 0.2)
    monkeypatch.setattr(lifespan, "PATIENCE", 0.3)
    caplog.set_level(logging.INFO, "xqueue.worker")
    slow = Slow("asyncio", blocks=blocks)
    slow.one.start()
    how = "blocks the event loop" if blocks else "is still being entered"
    await until("it is said", lambda: f"the app's lifespan {how} after 0.2 s" in caplog.text)
    assert "entering the app's lifespan" in caplog.text
    slow.one.worker.stop()
    slow.release.set()
    assert await slow.one.ended() is None
