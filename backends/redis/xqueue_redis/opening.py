"""Opens a server: connects, and refuses one that would lose tasks."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from xqueue_core.errors import ConfigError, Refused
from xqueue_core.findings import Finding, Level
from xqueue_redis.connection import Link
from xqueue_redis.failures import NoTls
from xqueue_redis.safety import config, dangers, version

if TYPE_CHECKING:
    from xqueue_redis.scripts import Scripts
    from xqueue_redis.settings import RedisSettings

logger = logging.getLogger("xqueue.redis")


@asynccontextmanager
async def opened(
    settings: RedisSettings, scripts: Scripts, *, tell: bool = False, told: bool = False
) -> AsyncIterator[Link]:
    """A link to the server; behind the context every call of it raises Refused.

    With ``tell`` what may lose tasks, and does not refuse the start, is logged. With ``told``
    another opening of the same worker has logged whatever there is to be said.

    Raises:
        NoDatabase: the namespace is not there, and ``make`` says that it is not to be begun.
        ConfigError: the server refuses us, is too old, or would lose tasks.
        Unavailable: it does not answer within ``timeout``.
    """
    link = Link(
        settings.address(), settings.namespace, scripts, settings.timeout, make=settings.make
    )
    try:
        try:
            await link.may_run()
        except (Refused, NoTls) as error:
            # Whoever opens a backend has a mistake to mend, not a call to give up. Of an old
            # server its version says more than what it does not know.
            _refuse(link, [version(link.info)])
            raise ConfigError(str(error)) from error
        await _check(link, settings, tell=tell)
        if "unverified-tls" in settings.allow and not told:
            text = "%s: whoever answers is trusted, as allow says: unverified-tls"
            logger.warning(text, link.where)
        yield link
    finally:
        await link.close()


async def _check(link: Link, settings: RedisSettings, *, tell: bool) -> None:
    found = [version(link.info)]
    found += dangers(link.info, await config(link), settings.durability, settings.allow)
    _refuse(link, found)
    for one in found:
        if tell and one.level is Level.WARNING:
            logger.warning(
                "%s: %s: %s. What to do: %s", link.where, one.check, one.detail, one.advice
            )


def _refuse(link: Link, found: Sequence[Finding]) -> None:
    """Raise ConfigError if any of these is an error."""
    if wrong := [one for one in found if one.level is Level.ERROR]:
        told = "; ".join(f"{one.check}: {one.detail}. What to do: {one.advice}" for one in wrong)
        raise ConfigError(f"{link.where}: {told}")
