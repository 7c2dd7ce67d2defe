"""What a child says of its tasks, and in which order; here in the test's own process."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from queue import SimpleQueue
from typing import Any

import pytest

from support.apps import make_app
from support.fake_queue import delivery
from xqueue_core import XQueue
from xqueue_core.task import RetryAt, Success
from xqueue_core.worker.isolation import child
from xqueue_core.worker.isolation.wire import (
    VERSION,
    Began,
    Done,
    Message,
    Returned,
    Run,
    Setup,
    ToChild,
    frame,
)


class Line:
    """The wire to a worker that sends so many tasks of a type; ``said`` is also the app's."""

    def __init__(self, type: str) -> None:
        self.said: list[Any] = []
        self.orders: SimpleQueue[ToChild] = SimpleQueue()
        self.orders.put(Run(delivery("1", type), None, None))

    def send(self, message: Message) -> None:
        """Keep it."""
        self.said.append(message)


def served(app: XQueue, type: str, monkeypatch: pytest.MonkeyPatch, fault: bool = False) -> Line:
    """The line, when it was served."""
    line = Line(type)

    async def aclose() -> None:
        line.said.append("closed")
        if fault:
            raise OSError("it cannot be closed")

    monkeypatch.setattr(app, "aclose", aclose)
    setup = Setup(VERSION, "app", [], [type], [], "w~1", {}, None, 1, 1000)
    child.serve(line, app, setup, None)  # type: ignore[arg-type]
    return line


def app_with() -> XQueue:
    """Coroutines, and a plain function."""
    app, left = make_app(), []

    @app.task(isolation="process")
    async def later() -> str:
        left.append(asyncio.create_task(asyncio.sleep(60)))  # is cancelled
        return "done"

    @app.task(isolation="process")
    async def fails() -> str:
        raise LookupError

    @app.task(isolation="process")
    def plain() -> str:
        return "done"

    return app


DONE = Success(b'"done"')


def test_the_end_of_a_coroutine_is_told_before_anything_is_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    line = served(app_with(), "later", monkeypatch)
    assert line.said == [Began(), Returned(DONE), "closed", Done(DONE)]


def test_what_cannot_be_closed_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    line = served(app_with(), "later", monkeypatch, fault=True)
    assert line.said == [Began(), Returned(DONE), "closed", Done(DONE)]
    assert "later:1: what it has left failed at its end" in caplog.text


def test_a_coroutine_that_fails_leaves_nothing_open_either(monkeypatch: pytest.MonkeyPatch) -> None:
    _, returned, closed, done = served(app_with(), "fails", monkeypatch).said
    assert isinstance(returned.outcome, RetryAt)
    assert (closed, done.outcome) == ("closed", returned.outcome)


def test_a_plain_function_has_nothing_to_close(monkeypatch: pytest.MonkeyPatch) -> None:
    assert served(app_with(), "plain", monkeypatch).said == [Began(), Done(DONE)]


def test_an_order_that_cannot_be_read_is_told_before_the_end(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    killed = threading.Event()
    monkeypatch.setattr(os, "killpg", lambda group, number: killed.set())
    spoiled = delivery("1", "plain")
    spoiled.task.headers["n"] = 1  # type: ignore[assignment]
    ours, theirs = socket.socketpair()
    with ours, theirs:
        child.Line(theirs)
        ours.sendall(frame(Run(spoiled, None, None)))
        assert killed.wait(10)
    assert "is not understood" in caplog.text
    assert "headers" in caplog.text
