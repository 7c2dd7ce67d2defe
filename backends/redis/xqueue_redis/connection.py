"""The connections of one open backend to its server, and the calls over them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from redis.exceptions import RedisError

from xqueue_core.errors import Refused, XQueueError
from xqueue_core.patience import Patience
from xqueue_redis import calling
from xqueue_redis.address import Address
from xqueue_redis.calling import Way
from xqueue_redis.failures import error_code, failure, silence
from xqueue_redis.keeping import Keeping
from xqueue_redis.pool import Pool
from xqueue_redis.scripts import Scripts
from xqueue_redis.wire import Wire, dial

#: As an argument of a script: the run id of the server to which this very call is sent.
RUN_ID: Final = object()
#: Connections for calls; most of the time one is in use.
_CALLING: Final = 4
#: Connections for blocking reads that are kept while nobody reads.
_RESTING: Final = 4

# Answers after which the server is not to be asked again over the same connection.
_ELSEWHERE: Final = {"READONLY", "MASTERDOWN", "UNBLOCKED", "LOADING", "NOAUTH"}


class Link:
    """Everything an open backend says to its server; for one event loop.

    A call ends within its time in an answer, or raises: ``Unavailable`` (the server did
    nothing), ``Unknown`` (nobody knows, or a script ended half way), ``Refused`` (it did nothing,
    and will never do it). None is repeated here. Each connects anew where that is needed.

    Args:
        address: where the server is.
        namespace: what the keys begin with.
        scripts: the scripts to run.
        timeout: seconds for a call that does not say how long it may take.
        make: begin the namespace if it is not there.
        look: see at each connect whether the data is still there; false changes nothing at all.
    """

    def __init__(
        self,
        address: Address,
        namespace: str,
        scripts: Scripts,
        timeout: float = 5.0,
        *,
        make: bool = True,
        look: bool = True,
    ) -> None:
        self.prefix = f"{{{namespace}}}:"
        self.where = str(address)
        self.timeout = timeout
        self.info: Mapping[str, str] = {}
        self._address = address
        self._name = f"xqueue:{namespace}"
        self._meta = f"{self.prefix}meta"
        self._scripts = scripts
        self._keeping = Keeping(self._meta, self.where, make=make) if look else None
        self._calling = Pool(self._dial, _CALLING, _CALLING)
        self._blocking = Pool(self._dial, None, _RESTING)
        self._pid = os.getpid()
        self._patience = Patience()
        self._closed = False

    @property
    def run_id(self) -> str:
        """The run id of the server's process, as of the latest connect; another after a restart.

        To give a script that of the server which runs it, name :data:`RUN_ID` as its argument.
        """
        return self.info.get("run_id", "")

    async def run(self, name: str, *arguments: Any, deadline: float | None = None) -> Any:
        """Run a script, and give its answer as it is: bytes, whole numbers, lists, None.

        Args:
            name: the script's; it gets ``{namespace}:meta`` as its only key.
            arguments: bytes, text, numbers, or :data:`RUN_ID`.
            deadline: seconds until the call ends at the latest.

        Raises:
            ScriptRefused: the script answered ``XQ <CODE> text``.
            Refused, Unavailable, Unknown: see the class.
        """
        script = self._scripts.get(name)

        async def call(wire: Wire, way: Way) -> Any:
            given = [wire.run_id if one is RUN_ID else one for one in arguments]
            return await calling.run(wire, way, script, self._meta, given)

        return await self._call(call, deadline)

    async def may_run(self) -> None:
        """See whether this user may load and run scripts; nothing is loaded.

        Raises:
            Refused: it may not.
            Unavailable, Unknown: see the class.
        """
        await self._call(lambda wire, way: calling.may_run(wire, self._meta), None)

    async def command(self, *arguments: Any, deadline: float | None = None) -> Any:
        """Give a single command, and its answer as it is.

        Raises:
            Refused, Unavailable, Unknown: see the class.
        """
        return await self._call(_single(arguments), deadline)

    async def look(self) -> None:
        """See whether the data is still there, as at each connect; else log it, and begin anew.

        For what nobody notices by a lost connection: somebody called FLUSHALL.

        Raises:
            Refused, Unavailable, Unknown: see the class.
        """

        async def call(wire: Wire, way: Way) -> None:
            if self._keeping is not None:
                await self._keeping.look(wire)

        await self._call(call, None)

    @asynccontextmanager
    async def blocking(self) -> AsyncIterator[Blocking]:
        """A connection of its own, for reads that block; behind the context others may have it.

        Raises:
            Refused, Unavailable: as calls do.
        """
        self._check()
        try:
            with self._patience.within(self.timeout):
                wire = await self._blocking.take()
        except (RedisError, OSError) as error:
            raise self._meant(error, Way(), self.timeout) from error
        try:
            yield Blocking(self, wire)
        finally:
            await self._blocking.put(wire)

    async def close(self) -> None:
        """Cut off all connections; calls under way raise, and so does every later one."""
        self._closed = True
        await asyncio.gather(self._calling.close(), self._blocking.close())

    # -- how a call goes ---------------------------------------------------------------------

    async def _call(
        self, call: Callable[[Wire, Way], Awaitable[Any]], deadline: float | None
    ) -> Any:
        self._check()
        way = Way()
        seconds = self.timeout if deadline is None else deadline
        try:
            with self._patience.within(seconds):
                wire = await self._calling.take()
                try:
                    return await self._said(wire, call(wire, way))
                finally:
                    await self._calling.put(wire)
        except (RedisError, OSError) as error:
            raise self._meant(error, way, seconds) from error

    async def _said(self, wire: Wire, answer: Awaitable[Any]) -> Any:
        """The answer; a connection that leads to the wrong place is not to be used again."""
        try:
            return await answer
        except RedisError as error:
            wire.busy = wire.busy or error_code(error) in _ELSEWHERE
            raise

    def _meant(self, error: RedisError | OSError, way: Way, seconds: float) -> XQueueError:
        """What an error of the client, or the end of the time, means to a caller."""
        if isinstance(error, TimeoutError):
            return silence(self.where, f"no answer in {seconds:g} s", sent=way.sent)
        return failure(error, self.where, sent=way.sent)

    async def _dial(self) -> Wire:
        wire = await dial(self._address, self._name)
        try:
            if self._keeping is not None:
                await self._keeping.look(wire)
        except BaseException:
            await wire.drop()
            raise
        self.info = wire.info
        return wire

    def _check(self) -> None:
        if self._closed:
            raise Refused(f"{self.where} is closed: it was used after its context had ended")
        if self._pid != os.getpid():
            raise Refused(
                f"{self.where} was opened before this process was forked: open it in the child, "
                "or start processes with `spawn`"
            )


class Blocking:
    """A connection that nobody else uses meanwhile; see :meth:`Link.blocking`."""

    def __init__(self, link: Link, wire: Wire) -> None:
        self._link = link
        self._wire = wire

    async def command(self, *arguments: Any, deadline: float | None = None) -> Any:
        """Give one command, and its answer as it is.

        Cancelled or without an answer in time, the connection is cut off, by which the server
        ends the read; the next command needs another :meth:`Link.blocking`.

        Args:
            deadline: seconds until it ends at the latest; by default those for which the
                command says that it may block, and those of any call.

        Raises:
            Unavailable, Unknown, Refused: as calls do.
        """
        self._link._check()
        if not self._wire.fresh:
            raise silence(self._link.where, "the connection was cut off", sent=False)
        way = Way()
        if deadline is None:
            deadline = self._link.timeout + blocks(arguments)
        try:
            with self._link._patience.within(deadline):
                return await self._link._said(self._wire, _single(arguments)(self._wire, way))
        except (RedisError, OSError) as error:
            raise self._link._meant(error, way, deadline) from error


def blocks(arguments: Sequence[Any]) -> float:
    """For how many seconds a command may block, as it says itself; 0 where it says for ever."""
    if arguments[0] == "XREAD" and "BLOCK" in arguments:
        return int(arguments[arguments.index("BLOCK") + 1]) / 1000
    return float(arguments[-1]) if arguments[0] == "BLPOP" else 0.0


def _single(arguments: tuple[Any, ...]) -> Callable[[Wire, Way], Awaitable[Any]]:
    async def call(wire: Wire, way: Way) -> Any:
        way.sent = True
        return await wire.ask(*arguments)

    return call
