"""One call of each method of a backend, which may be repeated as often as a case likes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from xqueue_core.abc import Faces
from xqueue_core.calls import Ability, Delivery, Pause, Settled, Want
from xqueue_core.conformance.bench import TYPE
from xqueue_core.conformance.check import holds, same
from xqueue_core.conformance.desk import Desk
from xqueue_core.conformance.worker import Worker, ended
from xqueue_core.permits import Keep, Permit
from xqueue_core.task import Event, EventName, State
from xqueue_core.views import Filter

if TYPE_CHECKING:
    from xqueue_core.conformance.bench import Bench

Call = Callable[[], Awaitable[object]]

#: Calls whose answer says what only the broker knows: that something is durable, who holds a
#: delivery or a permit, whether there is work. Without it nobody can answer them.
CLAIMS = frozenset({"put", "lease", "settle", "extend", "control"})
CLAIMS |= {"set_limit", "acquire", "renew", "release"}


class Every:
    """The calls, by name, on some faces of the case's backend.

    Attributes:
        calls: repeating one changes nothing.
        worker: who leases and settles; it holds ``held`` and settles ``settled``.
        desk: who asks for a permit and holds another one; None without the ability for it.
    """

    def __init__(
        self,
        bench: Bench,
        faces: Faces,
        worker: Worker,
        held: Delivery,
        settled: Delivery,
        desk: Desk | None,
    ) -> None:
        self.bench = bench
        self.worker = worker
        self.held = held
        self.settled = settled
        self.desk = desk
        self._faces = faces
        self._task = bench.task()
        self.calls: Mapping[str, Call] = {
            **self._of_queue(),
            **self._of_view(),
            **self._of_semaphore(),
            **self._of_notifier(),
        }

    @classmethod
    async def made(cls, bench: Bench, faces: Faces) -> Every:
        """Put what the calls are about."""
        await bench.submit_many(3)
        worker = await bench.worker("every", queue=faces.queue)
        held, settled = await worker.take(2)
        desk = None
        if Ability.LIMITS in bench.harness.capabilities.abilities:
            desk = Desk(bench, "every")
            for key in ("kept", "every"):
                await desk.limit(key, 1)
            await desk.gets("kept")
        return cls(bench, faces, worker, held, settled, desk)

    async def ends(self) -> None:
        """Everything was answered, so each has had its effect, once."""
        [verdict] = await self.worker.settle_all([ended(self.settled)])
        same(verdict, Settled.REPEATED, "answer to a settle that was answered before")
        await self.bench.put_in_doubt(self._task)
        # One was leased by the call, whose number is now taken as answered; one was put.
        got = await self.worker.take(2)
        ids = {one.task.id for one in got}
        holds(self._task.id in ids and len(ids) == 2, f"what was put is delivered, once: {ids}")
        await self.worker.none("more deliveries")
        for delivery in [self.held, *got]:
            await self.worker.ends(delivery)
        if self.desk is not None:
            told = await self.desk.renew(*self.desk.held.values())
            same(told.permits, [Keep.KEPT], "what is told of the permit that was renewed")
            same(len(await self.desk.holders("every")), 1, "permits of the one that was asked for")

    def _of_queue(self) -> dict[str, Call]:
        queue, worker = self._faces.queue, self.worker
        number = worker.answered + 1
        return {
            "put": partial(queue.put, [self._task]),
            "lease": partial(queue.lease, [Want(TYPE, 1)], 1, number, worker.id, 0.2),
            "settle": partial(queue.settle, [ended(self.settled)]),
            "extend": worker.beat,
            "control": partial(queue.control, [Pause("elsewhere")]),
            "maintain": partial(queue.maintain, 0.1),
            "parked": partial(queue.parked, [TYPE], None, 10),
            "describe": queue.describe,
        }

    def _of_view(self) -> dict[str, Call]:
        if Ability.VIEW not in self.bench.harness.capabilities.abilities:
            return {}
        view = self._faces.needed("view")
        return {
            "find": partial(view.find, [self.held.task.id, "job:nobody"]),
            "list": partial(view.list, Filter(), None, 10),
            "stats": view.stats,
            "workers": view.workers,
            "schedules": view.schedules,
        }

    def _of_semaphore(self) -> dict[str, Call]:
        if self.desk is None:
            return {}
        semaphore, desk = self._faces.needed("semaphore"), self.desk
        held = list(desk.held.values())
        return {
            "set_limit": partial(semaphore.set_limit, "every", 1),
            "acquire": partial(semaphore.acquire, [desk.wish("every")], 0.0),
            "renew": partial(semaphore.renew, desk.worker, held, ["every"], desk.lease),
            "release": partial(semaphore.release, [Permit("nobody's", "every")]),
            "inspect": partial(semaphore.inspect, ["every", "another"]),
        }

    def _of_notifier(self) -> dict[str, Call]:
        if Ability.EVENTS not in self.bench.harness.capabilities.abilities:
            return {}
        task, token = self.held.task, self.held.token
        event = Event(
            *(task.id, 2, EventName.PROGRESS, State.PROCESSING, 0.0, task.lane),
            delivery=token,
            data={"done": 1},
        )
        return {"publish": partial(self._faces.needed("notifier").publish, [event])}
