"""A link for tests of the semaphore: with their clock and run id, and a list of what it ran."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from support.stores import FakeClock
from xqueue_core.stored.options import StoredOptions
from xqueue_redis.address import Address
from xqueue_redis.connection import RUN_ID, Link
from xqueue_redis.scripts import Scripts
from xqueue_redis.semaphore import RedisSemaphore


class PermitLink(Link):
    """A link to a server of this host.

    Args:
        port: the server's.
        namespace: what the keys begin with.
        clock: the time and the run that scripts see, in place of the server's.

    Attributes:
        ran: the scripts, in their order.
        before: is told the name of each script before it is sent.
    """

    def __init__(self, port: int, namespace: str, clock: FakeClock | None = None) -> None:
        scripts = Scripts("key" if clock else "server")
        super().__init__(Address(hosts=(("127.0.0.1", port),)), namespace, scripts)
        self.ran: list[str] = []
        self.clock = clock
        self.before: Callable[[str], None] = self.ran.append

    @property
    def run_id(self) -> str:
        """The server's run id; with a clock its epoch."""
        return self.clock.epoch if self.clock else super().run_id

    async def run(self, name: str, *arguments: Any, deadline: float | None = None) -> Any:
        """Run a script."""
        self.before(name)
        given = arguments
        if self.clock:
            await super().command("SET", f"{self.prefix}clock", repr(self.clock.wall))
            given = tuple(self.run_id if one is RUN_ID else one for one in arguments)
        return await super().run(name, *given, deadline=deadline)

    async def command(self, *arguments: Any, deadline: float | None = None) -> Any:
        """Give one command; ``TIME`` is answered by the clock."""
        if arguments == ("TIME",) and self.clock:
            return [str(part).encode() for part in divmod(int(self.clock.wall * 1e6), 1_000_000)]
        return await super().command(*arguments, deadline=deadline)

    @property
    def semaphore(self) -> RedisSemaphore:
        """A new semaphore over this link."""
        return RedisSemaphore(self, StoredOptions())


#: Makes a link, with this clock or that of the server; it is closed behind the test.
Links = Callable[[FakeClock | None], PermitLink]
