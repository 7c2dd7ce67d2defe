"""Gets tasks accepted: declares their types, puts them in batches, repeats what stayed open."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import msgspec

from xqueue_core.calls import Ability, Accepted, Declare, Did, Locate, Put
from xqueue_core.client.again import safe
from xqueue_core.client.lanes import ByName, located
from xqueue_core.client.lanes import unknown as unknown_here
from xqueue_core.client.retrying import Retrying
from xqueue_core.connect import Connection
from xqueue_core.errors import (
    BrokerError,
    ConfigError,
    Refused,
    Unavailable,
    Unknown,
    UnknownType,
    Unsupported,
    XQueueError,
)
from xqueue_core.patience import Patience
from xqueue_core.payload import check_size
from xqueue_core.task import Task

#: How long types are taken to be in the lane in which they were last seen (seconds). Looking with
#: each put would make two calls of each batch's one.
LOOK = 2.0


@dataclass(slots=True, eq=False)
class Turns:
    """What the submissions of one list share.

    Attributes:
        began: when the first of them had its turn, by the client's clock.
    """

    began: float | None = None


@dataclass(slots=True, eq=False)
class Submission:
    """A task on its way to the broker.

    Attributes:
        until: when its caller stops waiting, by the client's clock; of a list's, set at its turn.
        turns: of its list: its time begins at its own turn, however long others take before.
        sent: True from the moment in which a put that carries it was begun.
        under_way: True while such a put has no answer.
        unknown: True if one such put may have happened, for all that is known.
        dropped: True once its caller is gone, and was told that it was not accepted.
        answer: what its caller is told, from the moment in which that is known; the caller gets
            it a little later, and with those of its batch that are still open.
    """

    task: Task
    until: float = math.inf
    turns: Turns | None = None
    sent: bool = False
    under_way: bool = False
    unknown: bool = False
    dropped: bool = False
    answer: Accepted | Exception | None = None

    @property
    def doubtful(self) -> bool:
        """True if it may have been accepted, for all that is known."""
        if self.answer is not None:
            return isinstance(self.answer, Unknown)
        return self.unknown or self.under_way

    @property
    def accepted(self) -> bool:
        """True if it is known to be accepted, be it as the duplicate of another."""
        return isinstance(self.answer, Accepted)

    def expired(self, last: BrokerError) -> BrokerError:
        """The error for a submission whose time is up, ``last`` being that of the last try."""
        if self.doubtful:
            return self._unknown(last)
        return Unavailable(f"task {self.task.id} was not accepted: {last}")

    def failed(self, error: Exception) -> Exception:
        """What its caller is told of an error upon which it is not tried again.

        That error only if it was certainly not accepted: an earlier try may have been carried
        out, and what is raised as permanent makes callers submit it under another id.
        """
        if not self.doubtful:
            return error
        unknown = self._unknown(error)
        unknown.__cause__ = error
        return unknown

    def _unknown(self, last: Exception) -> Unknown:
        return Unknown(
            f"whether task {self.task.id} was accepted is unknown ({last}); {self._safe}"
        )

    @property
    def _safe(self) -> str:
        return f"submitting it again under this id is {safe([self.task])}"

    def given_up(self, why: BrokerError) -> Accepted | Exception:
        """What a caller is told who waits no longer.

        That is the answer if it is known. What is said not to be accepted is not sent any more,
        however often it was tried before, and is let go of: the batch that it is in may have to
        wait for a connection.
        """
        if self.answer is not None:
            return self.answer
        if not self.doubtful:
            self.dropped = True
            self.task = msgspec.structs.replace(self.task, payload=b"", headers={})
        return self.expired(why)

    def cancelled(self) -> asyncio.CancelledError:
        """What its submit raises when it is cancelled; if it was not accepted, it will not be.

        Not a subclass: asyncio compares the very class. What is known is told again by its cause.
        """
        told = self.given_up(Unavailable("its submit was cancelled"))
        id = self.task.id
        fate = ", nothing was accepted" if self.sent else ", nothing was sent"
        if isinstance(told, Accepted):
            fate = f"; {_kept(told)}"
            told = Unknown(f"the submit of task {id} was cut off, but {_kept(told)}; {self._safe}")
        elif isinstance(told, Unknown):
            fate = ", outcome unknown"
        error = asyncio.CancelledError(f"submit of {id} was cancelled{fate}", id)
        error.__cause__ = told
        return error


def _kept(answer: Accepted) -> str:
    if answer.put is Put.DUPLICATE:
        return f"it is known already, as {answer.of}"
    return "it was accepted"


class Sender:
    """Sends batches of submissions over the connection of one event loop."""

    def __init__(self, connect: Callable[[], Awaitable[Connection]], retrying: Retrying) -> None:
        self._connect = connect
        self._retrying = retrying
        self._patience = Patience()
        #: Types and lanes that were recorded, and when it was last seen that they still are.
        self._declared: dict[tuple[str, str], float] = {}
        self._on: Connection | None = None
        #: Since when every try has failed, and how the latest did.
        self._failing: tuple[float, BrokerError] | None = None

    async def flush(self, batch: Sequence[Submission]) -> Sequence[Accepted | Exception]:
        """Put the tasks, again and again where the broker fails, each until its own deadline."""
        clock = self._retrying.runtime.clock
        self._begin(batch, clock())
        error = self._failing[1] if self._failing else Unavailable("too many tasks were before it")
        attempt = 0
        while True:
            now = clock()
            left = []
            for one in batch:
                # With no time left a put would be given up at once, and its outcome be unknown.
                if one.answer is None and (one.until <= now or one.dropped):
                    one.answer = one.expired(error)
                elif one.answer is None:
                    left.append(one)
            if not left:
                return _answers(batch)
            attempt += 1
            try:
                # Until the last deadline: one that ends before must not put others in doubt.
                longest = max([one.until for one in left])
                await self._retrying.once(partial(self._try, left), longest, self._patience)
                self._failing = None
                error = Unknown("the broker cannot tell")
            except (Unavailable, Unknown) as caught:
                # What it says, not it: its traceback leads to the tasks, and this is kept.
                error = Unavailable(str(caught))
                self._failing = self._failing[0] if self._failing else now, error
                for one in left:
                    one.unknown, one.under_way = one.doubtful, False
            except Exception as caught:  # noqa: BLE001 - each caller gets it, or that it is unknown
                for one in _open(left):
                    one.answer = one.failed(caught)
            if not (left := _open(batch)):
                return _answers(batch)
            await self._retrying.pause(attempt, min(one.until for one in left))

    def _begin(self, batch: Sequence[Submission], now: float) -> None:
        """Their turn has come: set the deadlines of those whose time begins with it."""
        for one in batch:
            if one.turns is None:
                continue
            if one.turns.began is None:
                one.turns.began = now
            # While the broker fails, nobody has more time than the first of its list had: else a
            # long list would be waited for as often as it has batches.
            since = max(self._failing[0], one.turns.began) if self._failing else now
            one.until = since + self._retrying.deadline

    async def _try(self, left: Sequence[Submission]) -> None:
        """Put what can be put; what has no answer then is to be tried again."""
        connection = await self._connect()
        if connection is not self._on:
            # Maybe another broker, maybe the same one without its data.
            self._on, self._declared = connection, {}
        conflicts: dict[tuple[str, str], XQueueError] = {}
        conflicts.update(await self._declare(connection, left))
        conflicts.update(await _locate(connection, left))
        largest = _largest(connection)
        for one in left:
            task = one.task
            error = conflicts.get((task.type, task.lane)) if conflicts else None
            if error is None and (len(task.payload) > largest or _asks(task)):
                error = refusal(task, connection)
            if one.dropped:
                error = Unavailable("its submit was cancelled")
            if error is not None:
                one.answer = one.failed(error)
        if rest := _open(left):
            await _put(connection, rest)

    async def _declare(
        self, connection: Connection, left: Sequence[Submission]
    ) -> dict[tuple[str, str], ConfigError]:
        """Record the lanes of types not seen before; the error of each that is in another."""
        pairs = dict.fromkeys(
            [
                (task.id.partition(":")[0], task.lane)
                for one in left
                if not isinstance(task := one.task, ByName)
            ]
        )
        conflicts = await self._moved(connection, pairs)
        new = [pair for pair in pairs if pair not in self._declared]
        if not new:
            return conflicts
        commands = [Declare(type=type_, lane=lane) for type_, lane in new]
        verdicts = await connection.faces.queue.control(commands)
        now = self._retrying.runtime.clock()
        for (type_, lane), verdict in zip(new, verdicts, strict=True):
            if verdict.did is Did.CONFLICT:
                conflicts[type_, lane] = ConfigError(
                    f"type {type_!r} is declared in lane {lane!r}, but has live tasks in lane "
                    f"{verdict.of!r}; let them end before it moves"
                )
            else:
                self._declared[type_, lane] = now
        return conflicts

    async def _moved(
        self, connection: Connection, pairs: Iterable[tuple[str, str]]
    ) -> dict[tuple[str, str], ConfigError]:
        """The errors of types that others have moved to another lane since they were recorded.

        Declaring them again would take them back, from workers that no longer serve this lane.
        """
        now = self._retrying.runtime.clock()
        old = [pair for pair in pairs if self._declared.get(pair, now) <= now - LOOK]
        if not old:
            return {}
        verdicts = await connection.faces.queue.control([Locate(type_) for type_, _ in old])
        moved: dict[tuple[str, str], ConfigError] = {}
        for (type_, lane), verdict in zip(old, verdicts, strict=True):
            if verdict.did is Did.UNKNOWN:  # the broker has lost it
                del self._declared[type_, lane]
            elif verdict.did is Did.APPLIED and verdict.of != lane:
                moved[type_, lane] = ConfigError(
                    f"type {type_!r} is declared in lane {lane!r} here, but others have moved it "
                    f"to lane {verdict.of!r} meanwhile; declare it there, and start this anew"
                )
            else:
                self._declared[type_, lane] = now
        return moved


def refusal(task: Task, connection: Connection) -> XQueueError | None:
    """Why this connection cannot take the task, if it cannot: nothing is dropped silently."""
    capabilities = connection.capabilities
    try:
        check_size(task.payload, _largest(connection))
    except XQueueError as error:
        return error
    for ability, option in _needs(task):
        if ability not in capabilities.abilities:
            return Unsupported(f"the broker lacks {ability}, which {option} of {task.id} needs")
    if task.delay > capabilities.max_delay:
        return Unsupported(
            f"the delay of {task.id} is {task.delay:g} s; the broker's longest is "
            f"{capabilities.max_delay:g} s"
        )
    return None


def _largest(connection: Connection) -> int:
    """Most bytes of a payload."""
    return min(connection.settings.max_payload, connection.capabilities.max_payload)


def _asks(task: Task) -> bool:
    """True if it asks for more than any broker can do, as few tasks do."""
    return bool(
        task.priority or task.delay or task.unique_key or task.key or task.run_at is not None
    )


def _needs(task: Task) -> Sequence[tuple[Ability, str]]:
    wanted = (
        (Ability.PRIORITY, "priority", task.priority),
        (Ability.DELAY, "delay", task.delay),
        (Ability.DELAY, "run_at", task.run_at is not None),
        (Ability.DEDUPE, "unique_key", task.unique_key),
        (Ability.LIMITS, "key", task.key),
    )
    return [(ability, option) for ability, option, used in wanted if used]


async def _locate(
    connection: Connection, left: Sequence[Submission]
) -> dict[tuple[str, str], UnknownType]:
    """Give tasks of types that others declare their lanes; the errors of those without one."""
    named = [one for one in left if isinstance(one.task, ByName)]
    if not named:
        return {}
    lanes = await located(connection, [one.task.type for one in named])
    unknown: dict[tuple[str, str], UnknownType] = {}
    for one in named:
        type_, lane = one.task.type, lanes.get(one.task.type)
        if lane is None:
            unknown[type_, one.task.lane] = unknown.get(
                (type_, one.task.lane)
            ) or await unknown_here(connection, type_)
        elif lane != one.task.lane:
            one.task = msgspec.structs.replace(one.task, lane=lane)
    return unknown


def _answers(batch: Sequence[Submission]) -> list[Accepted | Exception]:
    """Those of a batch that has them all."""
    return [one.answer for one in batch if one.answer is not None]


def _open(batch: Sequence[Submission]) -> list[Submission]:
    return [one for one in batch if one.answer is None]


async def _put(connection: Connection, rest: Sequence[Submission]) -> None:
    for one in rest:
        one.sent = one.under_way = True
    try:
        verdicts = await connection.faces.queue.put([one.task for one in rest])
    except (Unavailable, Refused):  # nothing happened
        for one in rest:
            one.under_way = False
        raise
    for one, verdict in zip(rest, verdicts, strict=True):
        one.under_way = False
        if verdict.put is Put.NEW:
            one.answer = verdict
        elif verdict.put is Put.UNKNOWN:
            one.unknown = True
        else:
            one.answer = _judged(one, verdict)


def _judged(one: Submission, verdict: Accepted) -> Accepted | Exception:
    if verdict.put is Put.REJECTED:
        return one.failed(
            verdict.error or Refused("the broker rejected the task and did not say why")
        )
    if verdict.put is Put.DUPLICATE and one.unknown and verdict.of == one.task.id:
        # What it duplicates is itself, put by an earlier try whose answer was lost.
        return Accepted(Put.NEW)
    return verdict
