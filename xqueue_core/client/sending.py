"""Gets tasks accepted: declares their types, puts them in batches, repeats what stayed open."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial

from xqueue_core.calls import Ability, Accepted, Declare, Did, Put
from xqueue_core.client.retrying import Retrying
from xqueue_core.connect import Connection
from xqueue_core.errors import (
    BrokerError,
    ConfigError,
    Refused,
    Unavailable,
    Unknown,
    Unsupported,
    XQueueError,
)
from xqueue_core.payload import check_size
from xqueue_core.task import Task


@dataclass(slots=True, eq=False)
class Submission:
    """A task on its way to the broker.

    Attributes:
        until: when its caller stops waiting, by the client's clock.
        sent: True from the moment in which a put that carries it was begun.
        unknown: True if one such put may have happened, for all that is known.
    """

    task: Task
    until: float
    sent: bool = False
    unknown: bool = False

    def expired(self, last: BrokerError) -> BrokerError:
        """The error for a submission whose time is up, ``last`` being that of the last try."""
        if self.unknown:
            return Unknown(
                f"whether task {self.task.id} was accepted is unknown ({last}); submitting it "
                f"again under this id is safe"
            )
        return Unavailable(f"task {self.task.id} was not accepted: {last}")


class Sender:
    """Sends batches of submissions over the connection of one event loop."""

    def __init__(self, connect: Callable[[], Awaitable[Connection]], retrying: Retrying) -> None:
        self._connect = connect
        self._retrying = retrying
        self._declared: set[tuple[str, str]] = set()
        self._on: Connection | None = None

    async def flush(self, batch: Sequence[Submission]) -> Sequence[Accepted | Exception]:
        """Put the tasks, again and again where the broker fails, each until its own deadline."""
        answers: dict[Submission, Accepted | Exception] = {}
        attempt, left = 0, list(batch)
        while left:
            attempt += 1
            until = min(one.until for one in left)
            try:
                answers.update(await self._retrying.once(partial(self._try, left), until))
                break
            except (Unavailable, Unknown) as error:
                for one in left:
                    one.unknown |= one.sent and isinstance(error, Unknown)
                await self._retrying.pause(attempt, until)
                now = self._retrying.runtime.clock()
                answers.update((one, one.expired(error)) for one in left if one.until <= now)
                left = [one for one in left if one not in answers]
        return [answers[one] for one in batch]

    async def _try(self, left: Sequence[Submission]) -> dict[Submission, Accepted | Exception]:
        connection = await self._connect()
        if connection is not self._on:
            # Maybe another broker, maybe the same one without its data.
            self._on, self._declared = connection, set()
        answers: dict[Submission, Accepted | Exception] = {}
        conflicts = await self._declare(connection, left)
        for one in left:
            task = one.task
            error = conflicts.get((task.type, task.lane)) or refusal(task, connection)
            if error is not None:
                answers[one] = error
        rest = [one for one in left if one not in answers]
        for one in rest:
            one.sent = True
        if rest:
            verdicts = await connection.faces.queue.put([one.task for one in rest])
            answers.update(zip(rest, map(_judged, rest, verdicts), strict=True))
        return answers

    async def _declare(
        self, connection: Connection, left: Sequence[Submission]
    ) -> dict[tuple[str, str], ConfigError]:
        """Record the lanes of types not seen before; the error of each that is in another."""
        pairs = dict.fromkeys((one.task.type, one.task.lane) for one in left)
        new = [pair for pair in pairs if pair not in self._declared]
        if not new:
            return {}
        commands = [Declare(type=type_, lane=lane) for type_, lane in new]
        verdicts = await connection.faces.queue.control(commands)
        conflicts = {
            (type_, lane): ConfigError(
                f"type {type_!r} is declared in lane {lane!r}, but has live tasks in lane "
                f"{verdict.of!r}; let them end before it moves"
            )
            for (type_, lane), verdict in zip(new, verdicts, strict=True)
            if verdict.did is Did.CONFLICT
        }
        self._declared.update(pair for pair in new if pair not in conflicts)
        return conflicts


def refusal(task: Task, connection: Connection) -> XQueueError | None:
    """Why this connection cannot take the task, if it cannot: nothing is dropped silently."""
    capabilities = connection.capabilities
    limit = min(connection.settings.max_payload, capabilities.max_payload)
    try:
        check_size(task.payload, limit)
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


def _needs(task: Task) -> list[tuple[Ability, str]]:
    wanted = (
        (Ability.PRIORITY, "priority", task.priority),
        (Ability.DELAY, "delay", task.delay),
        (Ability.DELAY, "run_at", task.run_at is not None),
        (Ability.DEDUPE, "unique_key", task.unique_key),
        (Ability.LIMITS, "key", task.key),
    )
    return [(ability, option) for ability, option, used in wanted if used]


def _judged(one: Submission, verdict: Accepted) -> Accepted | Exception:
    if verdict.put is Put.REJECTED:
        return verdict.error or Refused("the broker rejected the task and did not say why")
    if verdict.put is Put.DUPLICATE and one.unknown and verdict.of == one.task.id:
        # What it duplicates is itself, put by an earlier try whose answer was lost.
        return Accepted(Put.NEW)
    return verdict
