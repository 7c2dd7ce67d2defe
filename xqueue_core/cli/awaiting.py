"""A worker's first look for its brokers, and its wait for one that is not there yet."""

from __future__ import annotations

import asyncio
import logging
import math
from contextlib import suppress
from itertools import zip_longest
from time import monotonic
from typing import TYPE_CHECKING

import click

from xqueue_core.cli.exits import NoBroker
from xqueue_core.cli.params import Duration
from xqueue_core.errors import Unavailable, Unknown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xqueue_core.app import XQueue

logger = logging.getLogger("xqueue.worker")

OPTION = "--wait-for-broker"
FOREVER = "forever"
#: Seconds until it is said again what is waited for: doubling, at most.
SAID_AGAIN, LONGEST = 5.0, 60.0
#: Longest time between two tries (seconds), and until the main thread sees a signal.
TRY_EVERY = 2.0
LOOK_EVERY = 0.25


class Wait(Duration):
    """A duration, or ``forever``, which is infinity."""

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """The seconds."""
        return math.inf if value in (FOREVER, math.inf) else super().convert(value, param, ctx)


class MayWait(click.Command):
    """A command whose option ``--wait-for-broker`` may stand without a duration."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the words; those that follow the option and are no duration are left alone."""
        return super().parse_args(ctx, _spelt_out(args))


def _spelt_out(args: Sequence[str]) -> list[str]:
    """``--wait-for-broker jobs.py`` names an app: a duration begins with a digit."""
    found = []
    for word, after in zip_longest(args, args[1:], fillvalue=""):
        alone = word == OPTION and not after[:1].isdecimal() and after != FOREVER
        found.append(f"{OPTION}={FOREVER}" if alone else word)
    return found


def find_broker(app: XQueue, longest: float | None) -> None:
    """Return once all brokers of the app answer. In the main thread it is open to signals.

    Args:
        app: the app.
        longest: how long one that does not answer is waited for (seconds); None: not at all.

    Raises:
        NoBroker: one did not answer.
        ConfigError, Unsupported: one does not fit, or refuses us, which no wait would heal.
    """
    filters = [(handler, _Once()) for handler in logging.getLogger().handlers]
    for handler, once in filters:
        handler.addFilter(once)
    try:
        asyncio.run(_watched(app, longest))
    finally:
        for handler, once in filters:
            handler.removeFilter(once)


class _Once(logging.Filter):
    """Lets each line of a broker through once, though it is opened at every try."""

    def __init__(self) -> None:
        super().__init__()
        self._said: set[tuple[str, str]] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        """False for a line that was said."""
        if record.name == logger.name or not record.name.startswith("xqueue."):
            return True
        line = (record.name, record.getMessage())
        if line in self._said:
            return False
        self._said.add(line)
        return True


async def _watched(app: XQueue, longest: float | None) -> None:
    """The system may hand a signal to another thread, which does not wake this one."""
    looking = asyncio.create_task(_look(app, longest))
    while not looking.done():
        await asyncio.wait([looking], timeout=LOOK_EVERY)
    looking.result()


async def _look(app: XQueue, longest: float | None) -> None:
    from xqueue_core.worker.tools import Backoff, Tools

    backoff = Backoff(Tools(), cap=TRY_EVERY)
    begun = due = monotonic()
    pause, until = SAID_AGAIN, begun + (longest or 0.0)
    while (error := await _missing(app)) is not None:
        now = monotonic()
        if now >= until:
            after = f"given up after {longest:g} s" if longest else f"{OPTION} waits for it"
            raise NoBroker(f"{error} ({after})") from error
        if now >= due:
            logger.warning("waiting for the broker: %s", error)
            due, pause = now + pause, min(LONGEST, 2 * pause)
        with suppress(TimeoutError):
            async with asyncio.timeout(None if math.isinf(until) else until - now):
                await backoff.wait()
    if due > begun:
        logger.info("the broker answers, after %.1f s", monotonic() - begun)


async def _missing(app: XQueue) -> Exception | None:
    """Why a broker cannot be used yet; None if all can."""
    from xqueue_core.abc import Role

    try:
        async with app.connect(Role.WORKER):
            return None
    except (Unavailable, Unknown) as error:
        return error
