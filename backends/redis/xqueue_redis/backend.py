"""The Redis backend."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, ClassVar, Literal
from weakref import WeakValueDictionary

from xqueue_core.abc import Backend, Faces, Role
from xqueue_core.calls import Capabilities
from xqueue_core.findings import Finding
from xqueue_redis.scripts import Scripts
from xqueue_redis.upkeep import Upkeep

if TYPE_CHECKING:
    from xqueue_redis.address import Address
    from xqueue_redis.settings import RedisSettings


class RedisBackend(Backend):
    """One server of Redis 7.0 or later, or of Valkey, for any number of hosts.

    Args:
        clock: ``key`` is for tests: scripts take the time from ``{namespace}:clock``.
    """

    requires: ClassVar[Mapping[str, str]] = {"redis.asyncio": "redis"}

    def __init__(self, clock: Literal["server", "key"] = "server") -> None:
        self._scripts = Scripts(clock)
        # A worker's heartbeats have a connection of their own, and tell those who do the upkeep.
        self._upkeeps: WeakValueDictionary[tuple[Address, str], Upkeep] = WeakValueDictionary()

    @property
    def Settings(self) -> type[RedisSettings]:
        """The settings model."""
        from xqueue_redis.settings import RedisSettings

        return RedisSettings

    def capabilities(self, settings: RedisSettings) -> Capabilities:
        """Everything; durable, unless a server without persistence was allowed by name."""
        return Capabilities(
            dedupe_horizon=settings.dedupe_horizon, durable="persistence" not in settings.allow
        )

    def open(
        self, settings: RedisSettings, role: Role = Role.CLIENT
    ) -> AbstractAsyncContextManager[Faces]:
        """Connect, and begin the namespace if it is not there yet.

        Raises:
            NoDatabase: it is not there, and ``make`` says that it is not to be begun.
            ConfigError: the server refuses us, is too old, or would lose tasks; the message says
                what to do.
            Unavailable: it does not answer within ``timeout``.
        """
        return self._open(settings, role)

    async def examine(self, settings: RedisSettings, seconds: float) -> AsyncIterator[Finding]:
        """Rights, version, role, eviction, persistence, memory, clock, scripts, size."""
        from xqueue_redis.examining import findings

        async for finding in findings(settings, self._scripts, seconds):
            yield finding

    @asynccontextmanager
    async def _open(self, settings: RedisSettings, role: Role) -> AsyncIterator[Faces]:
        from xqueue_redis.notifier import RedisNotifier
        from xqueue_redis.opening import opened
        from xqueue_redis.queue import RedisQueue
        from xqueue_redis.semaphore import RedisSemaphore
        from xqueue_redis.view import RedisView

        options = settings.options()
        upkeep, told = self._upkeep(settings) if role is Role.WORKER else (None, False)
        tell = role is Role.WORKER and not told
        async with opened(settings, self._scripts, tell=tell, told=told) as link:
            yield Faces(
                queue=RedisQueue(link, options, upkeep=upkeep),
                view=RedisView(link, options),
                semaphore=RedisSemaphore(link, options),
                notifier=RedisNotifier(link, options),
            )

    def _upkeep(self, settings: RedisSettings) -> tuple[Upkeep, bool]:
        """That of this worker, and whether another of its openings has it already."""
        made = Upkeep()
        upkeep = self._upkeeps.setdefault((settings.address(), settings.namespace), made)
        return upkeep, upkeep is not made
