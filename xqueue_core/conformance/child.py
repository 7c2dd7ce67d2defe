"""A worker in a process of its own, which a case kills or stops: see :mod:`.process`.

``python -m xqueue_core.conformance.child NAMESPACE LEASE URL``, or, where the backend is no entry
point, ``... NAMESPACE LEASE MODULE:FUNCTION [ARGUMENT...]`` with a function that makes the harness.
It registers, beats and renews by itself; each line of its input is a command in JSON, answered by
a line of output. It ends with its input.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from typing import Any

import anyio

from xqueue_core.calls import Ability, Delivery
from xqueue_core.conformance.bench import Bench
from xqueue_core.conformance.cases import Case
from xqueue_core.conformance.desk import Desk
from xqueue_core.conformance.harness import Harness
from xqueue_core.conformance.worker import Worker


async def _no_story(bench: Bench) -> None:
    """What this process does is told by its parent."""


def harness(target: str, *arguments: str) -> Harness:
    """The harness by its backend's URL, or made by the function that the command line names."""
    if "://" in target:
        from xqueue_core.conformance.__main__ import harness_for

        return harness_for(target)
    module, _, name = target.partition(":")
    made = getattr(importlib.import_module(module), name)(*arguments)
    if not isinstance(made, Harness):
        raise TypeError(f"{target} made {made!r}, which is no Harness")
    return made


class Child:
    """What the process can be told to do."""

    def __init__(self, worker: Worker, desk: Desk | None) -> None:
        self._worker = worker
        self._bench = worker.bench
        self._desk = desk
        self._got: list[Delivery] = []

    async def do(self, verb: str, *arguments: Any) -> Any:
        """Carry out one command and give its answer, as JSON types."""
        match verb:
            case "put":
                # Named so that nobody else's has this id; the parent counts it.
                task = self._bench.task(name=f"p{os.getpid()}-{self._bench.number()}")
                return (await self._bench.put(task))[0].put.value
            case "take":
                self._got = await self._worker.take(*arguments)
                return [[one.task.id, one.token] for one in self._got]
            case "told":
                return [(await self._worker.told(one)).value for one in self._got]
            case "settle":
                return [(await self._worker.settle(one)).value for one in self._got]
            case "rest":
                # Nothing is under way any more: a call that was cancelled may go on in a thread,
                # and the one behind it ends later.
                await self._bench.rest()
                await self._worker.beat()
                return True
            case "acquire" if self._desk is not None:
                return (await self._desk.gets(*arguments)).token
            case "renew" if self._desk is not None:
                reply = await self._desk.renew(*self._desk.held.values())
                return [keep.value for keep in reply.permits]
        raise ValueError(f"no such command: {verb}")


async def main(namespace: str, lease: float, opened_by: Harness) -> None:
    """Open, register, say so, and serve the commands until there are no more."""
    bench = Bench(opened_by, Case("E50", _no_story), namespace)
    async with bench.open():
        worker = await bench.worker(f"child{os.getpid()}", lease=lease)
        desk = None
        if Ability.LIMITS in opened_by.capabilities.abilities:
            desk = Desk(bench, worker.id, lease=lease)
            desk.live()
        child = Child(worker, desk)
        _say(worker.id)
        while line := await anyio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True):
            _say(await child.do(*json.loads(line)))


def _say(answer: Any) -> None:
    print(json.dumps(answer), flush=True)  # noqa: T201 - the parent reads it


if __name__ == "__main__":
    anyio.run(main, sys.argv[1], float(sys.argv[2]), harness(*sys.argv[3:]))
