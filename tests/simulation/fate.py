"""Carries out the faults of a plan."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from typing import TYPE_CHECKING

from simulation.plan import BLOCKED, Move, another
from simulation.process import Process
from support.history.events import (
    Continued,
    OutageBegan,
    OutageEnded,
    Stopped,
)
from xqueue_core.permits import Permit

if TYPE_CHECKING:
    from simulation.world import World

#: Faults that every schedule has at least.
ENOUGH = 5
#: How long the broker needs to come back (seconds).
REBOOT = 0.5
#: How soon what runs is counted again after the semaphore lost its permit (seconds), and how
#: long a worker must have been in no trouble for that.
COUNTED, CALM = 1.6, 4.0


class Fate:
    """Does to the cluster what the plan says."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._story = world.story
        self._loop = world.loop
        self._broker = world.broker
        self._random = Random(f"fate/{world.plan.seed}")
        self.took = 0  # faults that struck something
        self._losses = 0  # of the semaphore's data

    async def strike(self, move: Move) -> None:
        """One fault, from its moment to its end."""
        await asyncio.sleep(move.at)
        process = self._world.processes[move.worker]
        self._story.say("fate", move.name, f"{process.name} {move}")
        self.took += self._bites(move, process)
        await getattr(self, f"_{move.name}")(move, process)

    async def enough(self) -> None:
        """Strike again until as many faults as promised have found something to strike."""
        # A plan of fewer is somebody's own.
        while self.took < min(ENOUGH, len(self._world.plan.faults)):
            await self.strike(another(self._random, len(self._world.processes)))

    def _bites(self, move: Move, process: Process) -> bool:
        """True if the fault finds what it strikes."""
        if move.name == "storm":
            return True
        if move.name in ("outage", "restart"):
            embedded = move.name == "restart" and self._world.plan.embedded
            return not (self._broker.weather or embedded)
        if move.name == "forget":
            return self._held(move.how["key"]) is not None
        if move.name == "amnesia":
            return any(self._held(key) is not None for key in self._world.declared)
        busy = process.dead or process.task is None or process.stopping
        if move.name == "stop":
            return not (busy or process.engine_strand.held)
        return not (busy or (move.name == "partition" and process.net.weather))

    def _held(self, key: str) -> str | None:
        """A permit that somebody holds."""
        gate = self._broker.gate(key)
        return next(iter(gate.holders), None) if gate is not None else None

    async def _crash(self, move: Move, process: Process) -> None:
        process.crash()

    async def _stop(self, move: Move, process: Process) -> None:
        if process.dead or process.engine_strand.held:
            return
        self._story.note(Stopped(at=self._loop.now, worker=process.name))
        for strand in process.strands:
            self._loop.hold(strand)
        process.net.struck()
        process.out.begin()
        await asyncio.sleep(move.lasts)
        process.net.struck()
        process.out.end()
        self._story.note(Continued(at=self._loop.now, worker=process.name))
        self._story.say("fate", "continue", process.name)
        process.woken.append(self._loop.now)
        for strand in process.strands:
            self._loop.release(strand)

    async def _block(self, move: Move, process: Process) -> None:
        await process.block(min(move.lasts, BLOCKED))

    async def _partition(self, move: Move, process: Process) -> None:
        if process.net.weather:
            return
        process.out.begin()
        process.net.weather = move.how["weather"]
        await asyncio.sleep(move.lasts)
        process.net.weather = ""
        process.net.struck()
        process.out.end()

    async def _sever(self, move: Move, process: Process) -> None:
        """The queue is out of its reach; the semaphore is not."""
        process.out.begin()
        process.net.severed = move.how["weather"]
        await asyncio.sleep(move.lasts)
        process.net.severed = ""
        process.out.end()

    async def _outage(self, move: Move, process: Process) -> None:
        if self._broker.weather:
            return
        begun, world = self._loop.now, self._world
        with self._out():
            self._broker.weather = move.how["weather"]
            await asyncio.sleep(move.lasts)
            self._broker.weather = ""
        if move.how["weather"] != "mute":
            world.outages.append((begun, self._loop.now))

    async def _restart(self, move: Move, process: Process) -> None:
        if self._broker.weather or self._world.plan.embedded:
            return
        with self._out():
            self._broker.weather = "refuse"
            self._broker.reboot()
            await asyncio.sleep(REBOOT)
            self._broker.weather = ""

    async def _storm(self, move: Move, process: Process) -> None:
        struck = [one for one in self._world.processes if not one.dead]
        nets = [one.net for one in struck] + [self._world.client.net]
        for one in struck:
            one.out.begin()
        for net in nets:
            net.storm += 1
        await asyncio.sleep(move.lasts)
        for net in nets:
            net.storm -= 1
        for one in struck:
            one.out.end()

    async def _jump(self, move: Move, process: Process) -> None:
        process.ahead += move.how["by"]

    async def _drain(self, move: Move, process: Process) -> None:
        process.stop()
        if move.how["twice"]:
            await asyncio.sleep(min(move.lasts, 1.5))
            process.stop()

    async def _cancel(self, move: Move, process: Process) -> None:
        process.cancel_at(move.how["step"])

    async def _forget(self, move: Move, process: Process) -> None:
        """The semaphore loses a permit: for a while one more than allowed may run."""
        key, world, client = move.how["key"], self._world, self._world.client
        async with client.limiting:  # no limit is being set
            id = self._held(key)
            if id is None:
                return
            self._story.say("fate", "forgets", id)
            semaphore = self._broker.faces(world.random).semaphore
            assert semaphore is not None
            world.forgotten[key] = world.forgotten.get(key, 0) + 1
            client.tell_limit(key, self._loop.now)
            await semaphore.release([Permit(id=id, key=key)])
        # Its holder's code is soon counted again, or has ended.
        await self._recounted([key])
        async with client.limiting:
            world.forgotten[key] -= 1
            client.tell_limit(key, self._loop.now)

    async def _amnesia(self, move: Move, process: Process) -> None:
        """The semaphore loses everything: what runs must be counted again, by all workers.

        A key's limit comes with each wish, so that until a worker has noticed it may be granted
        anew; a lane's is told again when all who live have noticed.
        """
        world, client = self._world, self._world.client
        async with client.limiting:  # no limit is being set
            gates = {key: self._broker.gate(key) for key in {**world.declared, **world.limits}}
            lost = {key: len(gate.holders) for key, gate in gates.items() if gate is not None}
            self._broker.forget_permits()
            world.limits.clear()
            for key, count in lost.items():
                if key.startswith("key:"):
                    world.forgotten[key] = world.forgotten.get(key, 0) + count
                client.tell_limit(key, self._loop.now)
        self._story.say("fate", "forgets", f"{sum(lost.values())} permits and all limits")
        if self._random.random() < 0.5:
            process.crash()  # and another worker starts meanwhile
        await self._recounted(list(lost))
        async with client.limiting:
            for key, count in lost.items():
                if key.startswith("key:"):
                    world.forgotten[key] -= count
                client.tell_limit(key, self._loop.now)

    async def _recounted(self, keys: list[str]) -> None:
        """Wait until all that ran when permits were lost is counted again, or has ended."""
        self._losses += 1
        lost, losses = self._loop.now, self._losses
        await asyncio.sleep(COUNTED)
        if losses == self._losses:
            for key in keys:
                self._world.wrong += uncounted(self._world, key, lost)
        await asyncio.sleep(5.0 - COUNTED)

    @contextmanager
    def _out(self) -> Iterator[None]:
        self._story.note(OutageBegan(at=self._loop.now))
        struck = [one for one in self._world.processes if not one.dead]
        for one in struck:
            one.out.begin()
        try:
            yield
        finally:
            self._story.note(OutageEnded(at=self._loop.now))
            for one in struck:
                one.out.end()


def uncounted(world: World, key: str, lost: float) -> list[str]:
    """What has run since before a loss, and the semaphore does not know (P3.2)."""
    gate = world.broker.gate(key)
    if gate is None or gate.limit is None:
        return []
    found = []
    known = [holder.worker for holder in gate.holders.values()]
    for process in world.processes:
        busy = process.dead or process.stopping or process.engine_strand.held
        quiet = not (busy or process.net.troubled(CALM))
        runs = [
            id
            for (id, _), since in process.running.items()
            if since < lost and key in semaphore_keys(world, id)
        ]
        if quiet and known.count(process.name) < len(runs):
            found.append(
                f"G6: {process.name} runs {sorted(runs)} of {key}, and "
                f"{known.count(process.name)} of them are counted {COUNTED} s after a loss"
            )
    return found


def semaphore_keys(world: World, id: str) -> set[str]:
    """The keys whose permits a task needs."""
    task = world.jobs[id].task
    return {f"lane:{task.lane}", *([f"key:{task.lane}:{task.key}"] if task.key else [])}
