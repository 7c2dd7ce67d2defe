"""The way between a worker and the broker: calls are late, lost, repeated; replies too.

*Weather* is what all calls meet for a while: ``refuse`` (Unavailable at once), ``hang`` (nothing
gets there, and nothing comes back) or ``mute`` (calls are carried out, their replies are lost).
A *storm* strikes single calls. Every fate is one that ``xqueue_core.abc`` allows: what raises
Unavailable has not happened, what raises Unknown may have, or may yet.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

from simulation.broker import Broker
from simulation.loop import Strand
from xqueue_core.errors import Unavailable, Unknown

#: A driver's own deadline beyond a call's ``wait`` (seconds).
DEADLINE = 0.6
#: Longest way of a call, or of its reply, in fair weather (seconds).
WAY = 0.004

#: Longest way of a slow reply (seconds), and of one to a call that waits so much more: beyond a
#: lease, now and then.
SLOW = 0.5

#: What may strike a single call.
FATES = ("lost", "unanswered", "late", "twice", "slow")

#: Longest time after its sender gave up for which a call may still be under way (seconds): real
#: drivers have a bound, too, and the engine relies on it (``xqueue_core.abc.Semaphore.acquire``).
BEHIND = 2.0

#: Calls of the semaphore, which may live in another broker than the queue.
PERMITS = frozenset({"acquire", "renew", "release", "set_limit", "inspect"})

Make = Callable[[], Awaitable[Any]]


class Net:
    """One client's way to the broker.

    Args:
        embedded: its drivers run in the client itself, and end with it.
        flaky: how often a storm strikes.
        late: False for a client whose calls must not be carried out after it gave up.
    """

    def __init__(
        self,
        broker: Broker,
        strand: Strand,
        random: Random,
        *,
        embedded: bool = False,
        flaky: float = 0.0,
        late: bool = True,
    ) -> None:
        self._broker = broker
        self._loop = broker.loop
        self._strand = strand
        self._draw = random.random
        self._embedded = embedded
        self._flaky = flaky
        self._late = late and not embedded
        self.weather = ""
        self.severed = ""  # the weather of all calls but the semaphore's
        self.storm = 0
        self._trouble = self._lost = -1e9
        self._slow = [0, 0]  # calls under way whose reply is slow: of the queue, of the semaphore

    def troubled(self, seconds: float) -> bool:
        """True if anything went wrong on it so lately."""
        return any(self._slow) or self._loop.now - self._trouble < seconds

    def unpermitted(self, seconds: float) -> bool:
        """True if anything went wrong on the way to the semaphore so lately."""
        return self._slow[True] > 0 or self._loop.now - self._lost < seconds

    def struck(self) -> None:
        """Something went wrong with who uses it."""
        self._trouble = self._lost = self._loop.now

    async def call(
        self, name: str, make: Make, wait: float = 0.0, at_once: Make | None = None
    ) -> Any:
        """One call, and what becomes of it. Raises Unavailable or Unknown.

        ``at_once`` is the same call without its ``wait``.
        """
        fate = self._fate(name)
        if fate == "refuse" or fate == "lost":
            await asyncio.sleep(WAY * self._draw())
            raise Unavailable(f"{name}: the connection was refused")
        if fate == "hang":
            await asyncio.sleep(DEADLINE)
            raise (Unavailable if self._draw() < 0.5 else Unknown)(f"{name}: no answer")
        slow = fate == "slow"
        self._slow[name in PERMITS] += slow
        try:
            if self._embedded:
                return await self._here(name, make, fate, wait)
            return await _Sent(self, name, make, at_once or make, fate).reply(wait)
        finally:
            self._slow[name in PERMITS] -= slow
            if slow:
                self._strikes(name)

    def _fate(self, name: str) -> str:
        fate = self.weather or self._broker.weather
        if not fate and self.storm and self._draw() < self._flaky:
            fate = FATES[int(self._draw() * len(FATES))]
            if fate == "late" and not self._late:
                fate = "slow"
        if not fate and name not in PERMITS:
            fate = self.severed
        if fate:
            self._strikes(name)
            self._broker.story.say(self._strand.name, "call", f"{name}: {fate}")
        return fate

    def _strikes(self, name: str) -> None:
        """Something goes wrong with a call, or has just come to its end."""
        self._trouble = self._loop.now
        if name in PERMITS:
            self._lost = self._loop.now

    async def _here(self, name: str, make: Make, fate: str, wait: float) -> Any:
        await asyncio.sleep(WAY * self._draw())
        result = await make()
        if fate == "twice":
            result = await make()
        elif fate == "slow":
            await asyncio.sleep((SLOW + wait) * self._draw())
        elif fate:
            raise Unknown(f"{name}: no answer")
        return result


class _Sent:
    """A call that is carried out in the broker, whatever becomes of its sender."""

    __slots__ = (
        "_at_once",
        "_call",
        "_draw",
        "_fate",
        "_loop",
        "_make",
        "_name",
        "_net",
        "_reply",
        "_wait",
    )

    def __init__(self, net: Net, name: str, make: Make, at_once: Make, fate: str) -> None:
        self._net = net
        self._loop = net._loop
        self._draw = net._draw
        self._name = name
        self._make = make
        self._at_once = at_once
        self._fate = fate
        self._call: asyncio.Task[Any] | None = None
        self._wait = 0.0
        self._reply: asyncio.Future[Any] = self._loop.create_future()

    async def reply(self, wait: float) -> Any:
        """Send it, and wait for the reply until the deadline."""
        there, self._wait = self._net._broker.strand.context, wait
        ends = self._loop.call_later(wait + DEADLINE, self._expire)
        way = WAY * self._draw()
        if self._fate == "late":
            way += DEADLINE + BEHIND * self._draw()
        self._loop.call_later(way, self._begin, context=there)
        try:
            return await self._reply
        except asyncio.CancelledError:
            # What it had to do at once it may have done by then; it does not wait any longer.
            self._loop.call_later(WAY * self._draw(), self._cancel, context=there)
            raise
        finally:
            ends.cancel()

    def _expire(self) -> None:
        if not self._reply.done():
            self._reply.set_exception(Unknown(f"{self._name}: no answer in time"))

    def _cancel(self) -> None:
        if self._call is not None:
            self._call.cancel()

    def _begin(self) -> None:
        self._call = self._loop.create_task(self._carried_out())
        self._call.add_done_callback(self._done)
        self._net._broker.calls[self._call] = None

    async def _carried_out(self) -> Any:
        # Nobody blocks in the name of who has gone.
        make = self._at_once if self._reply.done() else self._make
        result = await make()
        return await self._make() if self._fate == "twice" else result

    def _done(self, call: asyncio.Task[Any]) -> None:
        self._net._broker.calls.pop(call, None)
        if call.cancelled():
            return
        call.exception()  # seen, also if the schedule ends before the reply arrives
        if self._fate == "mute":
            return
        if self._fate == "unanswered":
            self._expire()
            return
        way = WAY * self._draw() if self._fate != "slow" else (SLOW + self._wait) * self._draw()
        self._loop.call_later(way, self._answer, call)

    def _answer(self, call: asyncio.Task[Any]) -> None:
        if self._reply.done():
            return
        if (error := call.exception()) is not None:
            self._reply.set_exception(error)
        else:
            self._reply.set_result(call.result())
