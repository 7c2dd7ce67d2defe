"""The app of the tests of hooks that spoil what they are given; children import it, too."""

from __future__ import annotations

import os
from collections import UserDict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from support.processes import URL
from support.recorder import Recorder, recorded
from xqueue_core import Context, XQueue
from xqueue_core.hooks import Hooks, Running, Submitting


class Safe(str):
    """A text as template libraries have it: ``str()`` gives itself."""

    __slots__ = ()

    def __str__(self) -> str:
        return self


class Hostile(dict[str, str]):
    """A mapping that cannot be looked into."""

    def __bool__(self) -> bool:
        raise SystemExit(1)


def safe(run: Any) -> None:
    run.carried[Safe("from")] = Safe("hook")


def user_dict(run: Any) -> None:
    run.carried = UserDict({"from": "hook"})


def number(run: Any) -> None:
    run.carried["from"] = 1


def no_mapping(run: Any) -> None:
    run.carried = [("from", "hook")]


def hostile(run: Any) -> None:
    run.carried = Hostile()


def gone(run: Any) -> None:
    del run.carried


def own_header(run: Any) -> None:
    run.headers["from"] = 1


#: What a hook does to a run, and how often that fails.
SPOILING: dict[str, tuple[Callable[[Any], None], dict[tuple[str, str], int]]] = {
    "safe": (safe, {}),
    "user_dict": (user_dict, {}),
    "number": (number, {("plugins", "headers"): 1}),
    "no_mapping": (no_mapping, {("plugins", "headers"): 1}),
    "hostile": (hostile, {("plugins", "headers"): 1}),
    "gone": (gone, {("plugins", "headers"): 1}),
    "own_header": (own_header, {("recorder", "run"): 1}),
}


class Spoiler(Recorder):
    """Its hooks do as they are told."""

    def __init__(self, spoil: Callable[[Any], None]) -> None:
        super().__init__()
        self.spoil = spoil

    @asynccontextmanager
    async def open(self, settings: Any, site: Any) -> AsyncIterator[Hooks]:
        """Record nothing."""
        yield Spoils(self.spoil)


class Spoils(Hooks):
    """What is done to a run, and texts that are no plain ones in the headers of a submit."""

    def __init__(self, spoil: Callable[[Any], None]) -> None:
        self._spoil = spoil

    def submit(self, batch: Sequence[Submitting]) -> None:
        """Add a header."""
        for one in batch:
            one.headers[Safe("request")] = Safe("7")

    def run(self, run: Running) -> None:
        """As told."""
        self._spoil(run)


def make(url: str, spoil: Callable[[Any], None]) -> XQueue:
    """The app, over this broker."""
    app = recorded(url, Spoiler(spoil), lease=4.0, heartbeat=0.1, lease_wait=1.0, children=1)

    @app.task
    async def coroutine(ctx: Context) -> str:
        return ctx.headers["request"]

    @app.task
    def thread(ctx: Context) -> str:
        return ctx.headers["request"]

    @app.task(isolation="process", process_timeout=None)
    def process(ctx: Context) -> str:
        return ctx.headers["request"]

    return app


if URL in os.environ:
    app = make(os.environ[URL], lambda run: None)
