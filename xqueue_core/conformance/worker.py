"""A worker as a broker sees it: it registers, leases with call numbers, beats, settles, dies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import anyio

from xqueue_core.abc import TaskQueue
from xqueue_core.calls import Beat, BeatReply, Delivery, Held, Hold, Leased, Settle, Settled, Want
from xqueue_core.conformance.background import Background
from xqueue_core.conformance.check import Broken, holds, same
from xqueue_core.task import Outcome, Success

if TYPE_CHECKING:
    from xqueue_core.conformance.bench import Bench

#: Lease of a worker that outlives its case without a second heartbeat (seconds).
LONG = 60.0


class Worker:
    """One worker process. It keeps the rules of P1.2 unless a case tells it not to.

    Attributes:
        id: its worker id.
        lease: its lease in seconds.
        heartbeat: seconds between its beats.
        held: what it says it holds in its next beat.
        call: the number of its last call of ``lease``.
        answered: the highest number whose answer it has.
        last: the answer to its latest beat.
    """

    def __init__(self, bench: Bench, queue: TaskQueue, id: str, lease: float) -> None:
        self.bench = bench
        self.queue = queue
        self.id = id
        self.lease_time = lease
        self.heartbeat = lease / 5
        self.held: dict[tuple[str, int], Delivery] = {}
        self.call = 0
        self.answered = 0
        self.last = BeatReply()
        self._heart: Background | None = None

    # -- heartbeats ---------------------------------------------------------------------------

    async def beat(
        self, held: Sequence[Held] | None = None, *, leaving: bool = False, number: int = 0
    ) -> BeatReply:
        """One heartbeat with everything held, or with what the case says instead."""
        if held is None:
            held = [Held(*key) for key in self.held]
        beat = Beat(
            worker=self.id,
            lease=self.lease_time,
            heartbeat=self.heartbeat,
            answered=self.answered,
            leaving=leaving,
            lanes=list(self.bench.lanes),
            slots=100,
            number=number,
        )
        before, self.last = self.last, await self.queue.extend(beat, held)
        same(len(self.last.held), len(held), "number of verdicts of extend")
        if before.now:
            holds(self.last.now > 0, "a heartbeat is answered without the time, as none before")
        return self.last

    async def told(self, delivery: Delivery) -> Hold:
        """What a heartbeat says about one delivery."""
        return (await self.beat([Held(delivery.task.id, delivery.token)])).held[0]

    @property
    def alive(self) -> bool:
        """True while it beats in the background."""
        return self._heart is not None

    def live(self) -> None:
        """Beat in the background from now on."""
        self._heart = self.bench.start(self._beating)

    async def die(self) -> None:
        """Stop beating, as after SIGKILL."""
        heart, self._heart = self._heart, None
        if heart is not None:
            await heart.stop()

    async def _beating(self) -> None:
        """Beat twice as often as told, so that one that comes late is in time still.

        Where even so one comes late, nobody may be judged for a while (P1.4): who waits for that
        waits so much longer.
        """
        pause = self.heartbeat / 2
        while True:
            begun = anyio.current_time()
            await anyio.sleep(pause)
            await self.beat()
            self.bench.pace.held_up(anyio.current_time() - begun - self.heartbeat)

    # -- leasing ------------------------------------------------------------------------------

    async def ask(
        self, wants: Sequence[Want], limit: int, *, wait: float = 0.0, lost: bool = False
    ) -> Leased:
        """One call of ``lease``. If its answer is ``lost`` the next call repeats its number."""
        self.call = self.answered + 1
        got = await self.queue.lease(wants, limit, self.call, self.id, wait)
        if lost:
            return got
        self.answered = self.call
        for delivery in got.deliveries:
            self.held[delivery.task.id, delivery.token] = delivery
        return got

    async def lease(
        self, limit: int = 1, *lanes: str, wait: float = 0.0, lost: bool = False
    ) -> list[Delivery]:
        """Up to ``limit`` deliveries from these lanes (by default all of the case)."""
        wants = [Want(lane, limit) for lane in lanes or self.bench.lanes]
        return (await self.ask(wants, limit, wait=wait, lost=lost)).deliveries

    async def take(self, count: int, *lanes: str, within: float = 5.0) -> list[Delivery]:
        """Exactly ``count`` deliveries, in as many calls as it needs."""
        got: list[Delivery] = []
        patience = self.bench.pace.wait(within * self.bench.scale)
        while len(got) < count:
            left = patience.left()
            if left <= 0:
                raise Broken(
                    f"{self.id} waited {within:g} s for {count} deliveries of "
                    f"{', '.join(lanes or self.bench.lanes)} and got {len(got)}"
                )
            got += await self.lease(count - len(got), *lanes, wait=min(left, 1.0))
        return got

    async def one(self, *lanes: str, within: float = 5.0) -> Delivery:
        """The next delivery."""
        return (await self.take(1, *lanes, within=within))[0]

    async def none(self, what: str, *lanes: str, wait: float = 0.1) -> None:
        """Fail if anything is delivered within ``wait`` seconds."""
        got = await self.lease(100, *lanes, wait=wait * self.bench.scale)
        same([delivery.task.id for delivery in got], [], what)

    # -- settling -----------------------------------------------------------------------------

    async def settle_all(self, settles: Sequence[Settle]) -> list[Settled]:
        """One call of ``settle``; what was settled is no longer held."""
        verdicts = list(await self.queue.settle(settles))
        same(len(verdicts), len(settles), "number of verdicts of settle")
        for one in settles:
            self.held.pop((one.id, one.token), None)
        return verdicts

    async def settle(self, delivery: Delivery, outcome: Outcome | None = None) -> Settled:
        """Settle one delivery, as a success if the case says nothing else."""
        return (await self.settle_all([ended(delivery, outcome)]))[0]

    async def ends(self, delivery: Delivery, outcome: Outcome | None = None) -> None:
        """Settle one delivery and insist that it was applied."""
        same(await self.settle(delivery, outcome), Settled.APPLIED, "answer to the settle")


def ended(delivery: Delivery, outcome: Outcome | None = None) -> Settle:
    """The settle that ends this delivery."""
    return Settle(delivery.task.id, delivery.token, outcome or Success())  # type: ignore[arg-type]
