"""Opens the broker for one command: it waits for no longer than people do, and makes nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from xqueue_core.cli.files import database
from xqueue_core.errors import NoDatabase, Unavailable, Unknown

if TYPE_CHECKING:
    from xqueue_core.app import XQueue
    from xqueue_core.client.retrying import Retrying

#: How long a command goes on trying (seconds); a client within a program has more patience.
DEADLINE = 10.0
#: How much longer a try that has begun may take, or as long as the broker's own wait for a lock.
GRACE = 5.0
_URLS = ("url", "view_url", "semaphore_url", "notifier_url")


def patience(app: XQueue) -> Retrying:
    """How a command repeats its calls to the app's brokers. Raises ConfigError."""
    from xqueue_core.client.retrying import Retrying
    from xqueue_core.settings import backend_name, backend_settings

    settings = app.settings()
    waits = [GRACE]
    for url in {getattr(settings, name) for name in _URLS} - {None}:
        own = backend_settings(settings, url, app._backends.get(backend_name(url)).Settings)
        waits.append(getattr(own, "busy_timeout", 0.0) + 1.0)
    return Retrying(deadline=DEADLINE, grace=max(waits))


async def opened(app: XQueue, *, make: bool) -> None:
    """Open the app's brokers on the running loop.

    Args:
        app: the app; it makes nothing by itself.
        make: make a database that is not there, and say so on standard error.

    Raises:
        NoDatabase: there is none, and none is to be made.
        Unavailable, Unknown: a broker did not answer; the message says which, and for how long.
    """
    with telling("nothing was submitted" if make else "", app):
        try:
            await app._opened()
        except NoDatabase as error:
            if not make:
                raise
            await _made(app, error)


@contextmanager
def telling(done: str, app: XQueue | None = None) -> Iterator[None]:
    """Within, an error of the broker's says how long that took, and what was done.

    Args:
        done: what was done if the broker is unavailable; "" says nothing of it.
        app: give it if nothing can have happened: an answer that did not come is told by the
            broker's name.
    """
    began = time.monotonic()
    try:
        yield
    except (Unavailable, Unknown) as error:
        text = str(error)
        if isinstance(error, Unknown):
            text = text if app is None else f"{_where(app)} did not answer"
            done = done if app is not None else ""
        after = f"given up after {time.monotonic() - began:.0f} s"
        raise type(error)(f"{text} ({', '.join(filter(None, (after, done)))})") from error


async def _made(app: XQueue, error: NoDatabase) -> None:
    from xqueue_core.cli.output import echo, printable

    what = _what_is_made(app)
    app._make = True
    try:
        await app._opened()
    except NoDatabase:  # its own settings forbid it
        raise error from None
    echo(printable(f"Warning: {what}; no worker is known there"), err=True)


def _what_is_made(app: XQueue) -> str:
    """To be asked before it is made: of a file it tells whether it was there."""
    path = database(app, app.settings().url)
    if path is None:
        return f"began the namespace {app.settings().namespace!r} on {_where(app)}"
    return f"made XQueue's tables in {path}" if path.exists() else f"made the database {path}"


def _where(app: XQueue) -> Path | str:
    from xqueue_core.settings import masked

    url = app.settings().url
    return database(app, url) or masked(url)
