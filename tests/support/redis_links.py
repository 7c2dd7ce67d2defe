"""Links to a server of Redis, and scripts to run over them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from redis.asyncio import Redis

from services import Server
from xqueue_core.settings import Settings, backend_settings
from xqueue_redis.connection import Link
from xqueue_redis.opening import opened
from xqueue_redis.scripts import Script, Scripts, assembled, header
from xqueue_redis.settings import RedisSettings

#: What servers for tests lack, and tests do not mind.
ALLOWED = ("persistence",)
#: Scripts of which each answers something else.
TEXTS = {
    "echo": "return ARGV",
    "count": "return redis.call('HINCRBY', KEYS[1], 'counter', 1)",
    "forbidden": "return redis.call('KEYS', '*')",
    "refuse": "return redis.error_reply('XQ FULL there is no room')",
    "broken": "return nothing.here",
    "drain": "-- flags: allow-oom\nreturn redis.call('HDEL', KEYS[1], 'counter')",
}


class Given(Scripts):
    """The scripts above, in place of those of the backend."""

    def get(self, name: str) -> Script:
        text = TEXTS[name]
        return assembled(name, [text], header(text).get("flags", ""))


async def command(server: Server, *words: Any) -> Any:
    """Give one command as an operator would; replicas answer, too."""
    async with Redis(port=server.port) as redis:
        return await redis.execute_command(*words)  # type: ignore[no-untyped-call]


def made(url: str, **changes: Any) -> RedisSettings:
    """The settings behind a URL. Raises ConfigError."""
    changes.setdefault("allow", ALLOWED)
    own = backend_settings(Settings(url=url), url, RedisSettings)
    return own.model_copy(update=changes)


@asynccontextmanager
async def linked(server: Server | str, **changes: Any) -> AsyncIterator[Link]:
    """A link to a server, or to what a URL names."""
    url = server if isinstance(server, str) else server.url
    async with opened(made(url, **changes), Given()) as link:
        yield link
