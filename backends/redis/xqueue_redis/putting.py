"""Handing in tasks: a script for each portion, while the next portion is being encoded."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import msgspec

from xqueue_core.calls import Accepted, Capabilities, Put
from xqueue_core.checks import packed
from xqueue_core.task import Task
from xqueue_redis import rows
from xqueue_redis.portions import BYTES

#: Tasks of one script. Few enough that the first is soon under way and nobody else waits long,
#: and so many that what a call costs by itself is little.
PORTION = 250

_NEW = Accepted(Put.NEW)

_encode = msgspec.msgpack.Encoder().encode


class Run(Protocol):
    """Runs a script; with ``begun`` a part of the same call has been carried out before."""

    def __call__(self, name: str, *given: Any, begun: bool) -> Awaitable[Any]:
        """The script's answer."""


class _Portion(NamedTuple):
    """Tasks of one script, if any is sent.

    Attributes:
        given: the script's arguments.
        found: for each task its refusal, or None if it is sent.
        last: nothing comes after it.
    """

    given: list[str | bytes]
    found: list[Accepted | None]
    last: bool


class Putter:
    """The ``put`` of the queue."""

    def __init__(self, run: Run, capabilities: Capabilities) -> None:
        self._run = run
        self._capabilities = capabilities

    async def put(self, tasks: Sequence[Task], at: float) -> list[Accepted]:
        """The answers; ``at`` is the wall time if any task has a ``run_at``.

        One portion is under way at a time: tasks are accepted in their order, and what comes after
        a portion that failed is not sent.
        """
        answers: list[Accepted] = []
        call: asyncio.Future[Any] | None = None
        before: list[Accepted | None] = []  # of the portion under way
        begun = False
        try:
            for part in self._portions(tasks, at):
                if call is not None:
                    answers += _told(before, await call)
                    call = None
                if not part.given:
                    answers += _told(part.found, ())
                    continue
                sent, begun = self._run("put", *part.given, begun=begun), True
                if part.last:
                    answers += _told(part.found, await sent)
                else:
                    call, before = asyncio.ensure_future(sent), part.found
                    await asyncio.sleep(0)  # it is on its way
        finally:
            if call is not None:
                call.cancel()
                await asyncio.gather(call, return_exceptions=True)  # nothing of it runs on
        return answers

    def _portions(self, tasks: Sequence[Task], at: float) -> Iterator[_Portion]:
        """What the scripts are given, encoded as it is asked for."""
        given: list[str | bytes] = []
        found: list[Accepted | None] = []
        left = BYTES
        for task in tasks:
            raw = packed(task, self._capabilities, at)
            size = len(raw) if isinstance(raw, bytes) else 0
            if found and (size > left or len(found) == PORTION):
                yield _Portion(given, found, False)
                given, found, left = [], [], BYTES
            left -= size
            if isinstance(raw, bytes):
                given += (task.id, rows.fresh(task), raw, _extra(task))
                found.append(None)
            else:
                found.append(Accepted(Put.REJECTED, error=raw))
        if found:
            yield _Portion(given, found, True)


def _told(found: list[Accepted | None], originals: Sequence[bytes]) -> list[Accepted]:
    """The answers of a portion: refused here, or as the script has it of each that was sent."""
    if len(originals) != found.count(None):
        raise RuntimeError(f"{len(originals)} answers to {found.count(None)} tasks")
    sent = iter(originals)
    return [one or _accepted(next(sent)) for one in found]


def _accepted(of: bytes) -> Accepted:
    return Accepted(Put.DUPLICATE, of=of.decode()) if of else _NEW


def _extra(task: Task) -> bytes:
    """What the script is told of a task beside row and envelope."""
    slot = task.slot
    if not task.delay and task.run_at is None and task.unique_for is None and not slot:
        return b""
    return _encode(
        (
            task.delay,
            -1 if task.run_at is None else max(0.0, task.run_at),
            -1 if task.unique_for is None else task.unique_for,
            *(("", 0, 0) if slot is None else (slot.schedule, slot.version, slot.at)),
        )
    )
