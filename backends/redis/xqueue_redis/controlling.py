"""Commands from outside, as the script that carries them out is given them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from xqueue_core.calls import (
    Announce,
    AnyCommand,
    Cancel,
    Capabilities,
    Declare,
    Did,
    Locate,
    Order,
    Pause,
    Purge,
    Replay,
    Reschedule,
    Resume,
    Unpark,
    Verdict,
)
from xqueue_core.checks import edited, misfit
from xqueue_core.envelope import decode_task, encode_task
from xqueue_core.errors import InvalidTask, Unavailable
from xqueue_core.task import Task
from xqueue_redis import rows

if TYPE_CHECKING:
    from xqueue_core.stored.options import StoredOptions
    from xqueue_redis.connection import Link

#: Looks at an envelope that others keep changing before a replay gives up.
ROUNDS = 10

_encode = msgspec.msgpack.Encoder().encode

#: How each command is told, but for a replay that edits.
_TOLD: dict[type, Callable[[Any], tuple[Any, ...]]] = {
    Cancel: lambda c: ("cancel", c.id, _text(c.reason), c.request),
    Purge: lambda c: ("purge", c.id, -1 if c.seq is None else c.seq, c.request),
    Reschedule: lambda c: ("reschedule", c.id, c.delay, -1 if c.run_at is None else c.run_at),
    Unpark: lambda c: ("unpark", c.lane, c.key, c.count),
    Pause: lambda c: ("pause", c.lane),
    Resume: lambda c: ("resume", c.lane),
    Declare: lambda c: ("declare", c.type, c.lane),
    Locate: lambda c: ("locate", c.type),
    Announce: lambda c: ("announce", c.schedule, c.rule, c.after, c.unheard),
    Order: lambda c: ("order", c.worker, c.quiet, c.stop),
}


class Controller:
    """The ``control`` of the queue."""

    def __init__(self, link: Link, options: StoredOptions, capabilities: Capabilities) -> None:
        self._link = link
        self._given = (options.dedupe_horizon, options.client_retry)
        self._capabilities = capabilities

    async def control(self, commands: Sequence[AnyCommand]) -> list[Verdict]:
        """See :meth:`xqueue_core.abc.TaskQueue.control`."""
        verdicts = [Verdict(Did.UNSUPPORTED)] * len(commands)
        timed = any(isinstance(one, Replay | Reschedule) for one in commands)
        at = await self._now() if timed else 0.0
        todo: list[int] = []
        for i, command in enumerate(commands):
            wrong = None
            if isinstance(command, Replay | Reschedule):
                wrong = misfit(command, self._capabilities, at)
            if wrong:
                verdicts[i] = Verdict(Did.INVALID, reason=wrong)
            elif type(command) in _TOLD or isinstance(command, Replay):
                todo.append(i)
        for _ in range(ROUNDS):
            if not todo:
                return verdicts
            todo = await self._round(commands, todo, verdicts)
        raise Unavailable(f"{len(todo)} tasks kept changing under {ROUNDS} attempts; try again")

    async def _round(
        self, commands: Sequence[AnyCommand], todo: Sequence[int], verdicts: list[Verdict]
    ) -> list[int]:
        """Carry out what is left; what must be tried again."""
        envelopes: list[bytes] = []
        told = [await self._tell(commands[i], envelopes) for i in todo]
        answers = await self._link.run("control", *self._given, _encode(told), *envelopes)
        again: list[int] = []
        for i, (did, of, count, at) in zip(todo, answers, strict=True):
            if did == b"again":
                again.append(i)
            else:
                verdicts[i] = Verdict(Did(did.decode()), of.decode(), count, at=float(at))
        return again

    async def _tell(self, command: AnyCommand, envelopes: list[bytes]) -> tuple[Any, ...]:
        if not isinstance(command, Replay):
            return _TOLD[type(command)](command)
        seq = -1 if command.seq is None else command.seq
        edit: tuple[int, ...] = ()
        if command.edit is not None:
            edit = await self._edit(command, envelopes)
        return "replay", command.id, command.request, seq, command.delay, edit

    async def _edit(self, command: Replay, envelopes: list[bytes]) -> tuple[int, ...]:
        """The changed envelope's number, and what the script must know; 0 if it would not pass."""
        key = f"{self._link.prefix}t:{command.id}"
        packed, envelope = await self._link.command("HMGET", key, "s", "e")
        if packed is None or envelope is None:
            return ()
        try:
            row, task = rows.read(packed), decode_task(envelope)
        except (msgspec.MsgspecError, UnicodeDecodeError, InvalidTask):
            return ()
        changed = edited(task, command.edit, command.delay) if task.readable else task
        if not isinstance(changed, Task):
            return 0, 0, 0, row.replays
        envelopes.append(encode_task(changed))
        return len(envelopes), changed.priority, changed.max_retry, row.replays

    async def _now(self) -> float:
        seconds, micros = await self._link.command("TIME")
        return int(seconds) + int(micros) / 1e6


def _text(reason: str) -> str:
    """A text that cannot be stored must not fail the commands that come with it."""
    return reason.encode(errors="backslashreplace").decode()
