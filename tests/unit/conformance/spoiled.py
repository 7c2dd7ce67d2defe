"""Clients and servers that are broken on purpose where a network or a broker fails."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from support.socketstore.backend import Broker, SocketHarness
from support.socketstore.client import Connection, Pool
from unit.conformance.broken import Breaker, Forwarding
from unit.conformance.ten import queue
from xqueue_core.abc import Faces, TaskQueue
from xqueue_core.calls import (
    Accepted,
    AnyCommand,
    Leased,
    Replay,
    Settle,
    Settled,
    Verdict,
    Want,
)
from xqueue_core.errors import BrokerError, Unavailable, Unknown
from xqueue_core.task import Task


def _sound(faces: Faces) -> Faces:
    return faces


class Spoiled(SocketHarness):
    """The backend over a socket, with another pool of connections, or with spoiled faces."""

    def __init__(self, broker: Broker, pool: type[Pool] = Pool, spoil: Breaker = _sound) -> None:
        super().__init__(broker, pool)
        self._spoil = spoil

    @asynccontextmanager
    async def open(self, namespace: str, settings: Mapping[str, Any]) -> AsyncIterator[Faces]:
        """Open it, and spoil its faces."""
        async with super().open(namespace, settings) as faces:
            yield self._spoil(faces)


# -- connections ---------------------------------------------------------------------------------


class KeepsWhatWasCancelled(Pool):
    """A connection whose call was cancelled is used again: the next one reads its reply."""

    def cancelled(self, connection: Connection) -> None:
        self._idle.append(connection)


class SaysNothingHappened(Pool):
    """Every lost reply is Unavailable, also of what was carried out."""

    def failure(self, error: Exception, writes: bool) -> Exception:
        return Unavailable(str(error))


class LetsErrorsOut(Pool):
    """The errors of the sockets come out as they are."""

    def failure(self, error: Exception, writes: bool) -> Exception:
        return error


class LearnsOnce(Pool):
    """When the server has forgotten a number, that is the caller's affair."""

    async def ask(self, name: str, *args: Any, writes: bool = False) -> Any:
        kind, answer = await self._once(name, args, writes)
        if kind != "ok":
            raise Unknown(f"{name}: {kind}")
        return answer


class NeverConnectsAgain(Pool):
    """Once a connection was lost, it is lost for good."""

    _lost = False

    async def send(self, request: int | str, args: list[Any], *, writes: bool = False) -> Any:
        if self._lost:
            raise Unavailable("the connection was lost")
        try:
            return await super().send(request, args, writes=writes)
        except BrokerError:
            self._lost = True
            raise


class WaitsForEver(Pool):
    """Asks again and again until it is answered, which may be never."""

    async def send(self, request: int | str, args: list[Any], *, writes: bool = False) -> Any:
        while True:
            try:
                return await super().send(request, args, writes=writes)
            except Unavailable:
                continue


# -- queues --------------------------------------------------------------------------------------


class NewNumber(Forwarding):
    """A lease that is repeated after a failure goes under a new call number."""

    def __init__(self, inner: TaskQueue) -> None:
        super().__init__(inner)
        self._more = 0

    async def lease(
        self, wants: Sequence[Want], limit: int, call: int, worker: str, wait: float
    ) -> Leased:
        try:
            return await super().lease(wants, limit, call + self._more, worker, wait)
        except BrokerError:
            self._more += 1
            raise


class NewId(Forwarding):
    """A put that failed is put again under other ids, at once."""

    def __init__(self, inner: TaskQueue) -> None:
        super().__init__(inner)
        self._again = 0

    async def put(self, tasks: Sequence[Task]) -> Sequence[Accepted]:
        try:
            return await super().put(tasks)
        except BrokerError:
            self._again += 1
            named = [msgspec.structs.replace(t, id=f"{t.id}.{self._again}") for t in tasks]
            return await super().put(named)


class NewWish(Forwarding):
    """Commands that failed are given again, as other wishes, at once."""

    async def control(self, commands: Sequence[AnyCommand]) -> Sequence[Verdict]:
        try:
            return await super().control(commands)
        except BrokerError:
            again = [
                Replay(one.id, f"{one.request} again") if isinstance(one, Replay) else one
                for one in commands
            ]
            return await super().control(again)


class SettlesBlindly(Forwarding):
    """A settle that failed is taken as applied."""

    async def settle(self, outcomes: Sequence[Settle]) -> Sequence[Settled]:
        try:
            return await super().settle(outcomes)
        except BrokerError:
            return [Settled.APPLIED for _ in outcomes]


#: What is wrong with connections or faces, and the cases that are about it.
CLIENTS: Mapping[str, tuple[type[Pool], Breaker, Sequence[str]]] = {
    "keeps what was cancelled": (KeepsWhatWasCancelled, _sound, ["M135a", "M135b", "M135c"]),
    "says that nothing happened": (
        *(SaysNothingHappened, _sound),
        ["M127a", "M127b", "M127c", "M127h"],
    ),
    "lets errors out": (LetsErrorsOut, _sound, [f"M127{letter}" for letter in "defgijklm"]),
    "learns once": (LearnsOnce, _sound, ["M134"]),
    "never connects again": (NeverConnectsAgain, _sound, ["M126b", "M126e"]),
    "waits for ever": (WaitsForEver, _sound, ["M126c", "M126d"]),
    "leases under a new number": (Pool, queue(NewNumber), ["M127b"]),
    "puts under a new id": (Pool, queue(NewId), ["M127a"]),
    "gives new commands": (Pool, queue(NewWish), ["M127e"]),
    "settles blindly": (Pool, queue(SettlesBlindly), ["M127c"]),
}


class FullForAll(SocketHarness):
    """Where there is no room, nobody gets through."""

    @asynccontextmanager
    async def fill(self) -> AsyncIterator[None]:
        """Whatever is written is refused."""
        await self._tell("fill", "all")
        try:
            yield
        finally:
            await self._tell("fill", False)


class RoomForAll(SocketHarness):
    """There is always room."""

    @asynccontextmanager
    async def fill(self) -> AsyncIterator[None]:
        """Nothing changes."""
        yield
