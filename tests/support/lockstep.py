"""Runs many sequences at once through a queue and, beside it, through the pure machine.

Whatever the queue does by itself (it promotes, expires, reclaims, hands back) is seen in its
events; the machine is told the same and must say the same. What it was to do and did not is
found by looking at the clock.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from support.modelled import Differs, Model, Side
from support.plans import HEARTBEAT, LEASE, NEXT, NOTHING, WORKERS, Op, Plan, Tick
from xqueue_core.calls import (
    AnyCommand,
    Beat,
    Cancel,
    Did,
    Held,
    Hold,
    Pause,
    Purge,
    Put,
    Replay,
    Reschedule,
    Resume,
    Settle,
    Settled,
    Unpark,
    Want,
)
from xqueue_core.commands import Accept, Command, Expire, Expunge, Lease, Leave, Lose, Promote, Said
from xqueue_core.envelope import decode_task, encode_task
from xqueue_core.outcomes import WAITED
from xqueue_core.stored.layout import Tombstone
from xqueue_core.task import Event, EventName, HandBack, Record, State
from xqueue_core.transitions import expires_at, expunged_at, remembered, repeated

#: Seconds by which a wait may be found late to have ended, after its lane was paused.
STILL = 61.0


class Lockstep:
    """A batch of sequences on one queue."""

    def __init__(self, side: Side, plans: Sequence[Plan], ticks: Sequence[Tick]) -> None:
        self.side = side
        self.models = {plan.task.id: Model(plan) for plan in plans}
        self.ticks = ticks
        self.workers = [f"worker{n}" for n in range(WORKERS)]
        self.calls: dict[str, int] = defaultdict(int)
        self.beaten: dict[str, float] = {}
        self.waiting: dict[str, set[tuple[str, int]]] = {}  # as its last heartbeat said
        self.step = 0

    async def run(self) -> list[Model]:
        """Run them all. Raises Differs."""
        for step, tick in enumerate(self.ticks):
            self.step = step
            self._begin()
            if tick.dies is not None:
                self.workers[tick.dies] = f"worker{WORKERS + self.step}"
            for stride in tick.strides:
                self.side.advance(stride)
                await self._beat()
                # What the dead gave back may be due for something in its turn.
                while await self._maintain():
                    pass
                self._nothing_is_overdue()
            self._begin()
            await self._act()
        return list(self.models.values())

    def fail(self, model: Model, text: str) -> Differs:
        return Differs(f"sequence {model.plan.number}, step {self.step}: {text}")

    def ops(self, *names: str) -> Iterable[tuple[Model, Op]]:
        """The models whose present step is one of these."""
        for model in self.models.values():
            if model.present.name in names:
                yield model, model.present

    def _begin(self) -> None:
        """Find each model's present step, and what "next" means now."""
        for model in self.models.values():
            ops = model.plan.ops
            op = ops[self.step] if self.step < len(ops) else NOTHING
            if op.name == "next":
                state = model.record.state if model.record else None
                parked = model.record is not None and model.record.parked
                op = op._replace(name="unpark" if parked else NEXT[state])
            model.present = op

    # -- what happens by itself ----------------------------------------------------------------

    async def _maintain(self) -> bool:
        """Maintain the queue once; true if a dead worker's tasks were taken from it."""
        before = self._running()
        await self.side.queue.maintain(1000.0)
        self._follow(await self.side.events(), self._by_itself)
        return before != self._running()

    def _running(self) -> int:
        """How many are with workers."""
        records = (model.record for model in self.models.values())
        return sum(record is not None and record.state is State.PROCESSING for record in records)

    async def _beat(self) -> None:
        at = self.side.clock()
        lying = {model.plan.task.id: op.name for model, op in self.ops("drop", "misname")}
        for worker in self.workers:
            held: list[Held] = []
            for id, model in self.models.items():
                if model.held is None or model.held[0] != worker:
                    continue
                if id not in lying:
                    held.append(Held(id, model.held[1], self._waits(model)))
                elif lying[id] == "misname":
                    held.append(Held(id, model.tokens[0] - 1))
            expected = [self._hold(worker, one) for one in held]
            beat = Beat(
                worker=worker, lease=LEASE, heartbeat=HEARTBEAT, answered=self.calls[worker]
            )
            reply = await self.side.queue.extend(beat, held)
            self.beaten[worker] = at
            self.waiting[worker] = {(one.id, one.token) for one in held if one.waits}
            for one, said, right in zip(held, reply.held, expected, strict=True):
                if said is not right:
                    raise self.fail(self.models[one.id], f"{one} is {said}, not {right}")
            self._follow(await self.side.events(), self._handed_back)
        for id in lying:
            model = self.models[id]
            if model.held and model.held[0] in self.workers:
                if model.record and model.record.state is State.PROCESSING:
                    raise self.fail(model, "a delivery that nobody named was not handed back")
                model.held = None

    def _waits(self, model: Model) -> bool:
        """Whether its worker says that it waits: for some steps, then for some not."""
        return (self.step + model.plan.number) // 3 % 3 == 0

    def _hold(self, worker: str, held: Held) -> Hold:
        record = self.models[held.id].record
        if record is None or record.state is not State.PROCESSING or record.worker != worker:
            return Hold.LOST
        if record.delivery != held.token:
            return Hold.LOST
        return Hold.CANCELED if record.cancel else Hold.KEPT

    def _handed_back(self, model: Model, event: Event, record: Record) -> Command:
        return Settle(event.id, record.delivery, HandBack(reason="unanswered"))

    def _by_itself(self, model: Model, event: Event, record: Record) -> Command:
        """The command that the queue must have carried out by itself."""
        at = self.side.clock()
        if event.name is EventName.LEASED:
            if event.delivery <= record.delivery:
                raise self.fail(model, f"token {event.delivery} after {record.delivery}")
            return Lease(event.worker, self.calls[event.worker], event.delivery)
        if event.name is EventName.DUE:
            return Promote(stood=model.paused_for(at) - model.paused_for(record.due_at))
        if event.name is EventName.EXPUNGED:
            return Expunge()
        if record.state is State.PROCESSING:
            if self.beaten[record.worker] + LEASE > at:
                raise self.fail(model, f"{record.worker} may live, but {event}")
            said = self.waiting[record.worker]
            return Lose(record.delivery, (event.id, record.delivery) in said)
        return Expire()

    def _follow(
        self, events: Sequence[Event], meaning: Callable[[Model, Event, Record], Command]
    ) -> None:
        """Tell the machines what the queue did by itself, and compare what they say."""
        at = self.side.clock()
        for event in events:
            model = self.models[event.id]
            if model.record is None:
                raise self.fail(model, f"there is no such task, but {event}")
            before = model.record
            command = meaning(model, event, before)
            _, told = model.give(command, at)
            if told != (event,):
                raise self.fail(model, f"{event} happened, not {told}")
            self._note(model, before, told, command)

    def _note(
        self, model: Model, before: Record | None, told: Iterable[Event], command: Command
    ) -> None:
        """Remember what was told, without what may differ from queue to queue."""
        for event in told:
            model.trace.append((event.seq, event.name, event.state, event.attempt, event.at))
        if before is not None and model.record is None:
            task = model.plan.task
            retry = 2 * self.side.retry
            until = before.finished_at + max(self.side.horizon if task.remember else 0.0, retry)
            if isinstance(command, Purge) and command.request:
                until = max(until, self.side.clock() + retry)
            wish = remembered(before, command)
            model.tombstone = Tombstone(until, before.settled, *wish)

    def _nothing_is_overdue(self) -> None:
        """The queue was maintained: what time brings about has come about."""
        at = self.side.clock()
        for model in self.models.values():
            record = model.record
            if record is None:
                continue
            task = decode_task(record.raw)
            if record.state is State.SCHEDULED and record.due_at <= at:
                raise self.fail(model, f"due at {record.due_at}, but scheduled at {at}")
            goes = expunged_at(task, record)
            if goes is not None and goes <= at:
                raise self.fail(model, f"to be expunged at {goes}, but there at {at}")
            if record.state is State.PROCESSING and self.beaten[record.worker] + LEASE <= at:
                raise self.fail(model, f"{record.worker} is dead, but holds it at {at}")
            ends = expires_at(task, record, model.paused_for(at))
            taken = record.losses or record.reason == WAITED
            late = STILL if model.paused_for(at) or taken else 0.0
            if ends is not None and ends + late <= at and model.paused is None:
                raise self.fail(model, f"its wait ended at {ends}, but it waits at {at}")

    # -- what the sequences do -----------------------------------------------------------------

    async def _act(self) -> None:
        await self._put()
        await self._settle()
        await self._control()
        for index, worker in enumerate(self.workers):
            await self._lease(worker, [m for m, op in self.ops("lease") if op.worker == index])

    async def _put(self) -> None:
        at = self.side.clock()
        models = [model for model, _ in self.ops("put")]
        answers = await self.side.queue.put([model.plan.task for model in models])
        for model, answer in zip(models, answers, strict=True):
            taken = model.record is None and model.tombstone.until > at
            verdict = Said.DUPLICATE
            if not taken:
                verdict = self._tell(model, Accept(encode_task(model.plan.task)))
            right = Put.NEW if verdict is Said.APPLIED else Put.DUPLICATE
            self._compare(model, "put", answer.put, right)
        await self._check_events()

    async def _settle(self) -> None:
        at = self.side.clock()
        asked = [
            (model, Settle(model.plan.task.id, model.token(op.token), op.outcome))
            for model, op in self.ops("settle")
        ]
        answers = await self.side.queue.settle([settle for _, settle in asked])
        for (model, settle), answer in zip(asked, answers, strict=True):
            stone = model.tombstone
            buried = model.record is None and stone.until > at and settle.token in stone.settled
            said = Said.REPEATED if buried else self._tell(model, settle)
            self._compare(model, settle, answer, Settled(said.value))
        await self._check_events()

    async def _control(self) -> None:
        asked = [
            (model, self._command(model, op))
            for model, op in self.ops(
                "cancel", "cancel again", "replay", "replay again", "purge", "purge again",
                "reschedule", "unpark", "pause", "resume",
            )
        ]  # fmt: skip
        answers = await self.side.queue.control([command for _, command in asked])
        for (model, command), answer in zip(asked, answers, strict=True):
            self._compare(model, command, answer.did, self._carried_out(model, command))
            if isinstance(command, Unpark):
                was_parked = bool(model.expected)
                self._compare(model, command, answer.count, int(was_parked))
        await self._check_events()

    def _command(self, model: Model, op: Op) -> AnyCommand:
        task = model.plan.task
        match op.name:
            case "cancel" | "cancel again":
                model.wish += op.name == "cancel"
                return Cancel(task.id, "wish", f"wish {model.wish}")
            case "replay" | "replay again":
                model.request += op.name == "replay"
                return Replay(task.id, f"request {model.request}", delay=op.delay)
            case "purge" | "purge again":
                model.wish += op.name == "purge"
                return Purge(task.id, request=f"wish {model.wish}")
            case "reschedule":
                return Reschedule(task.id, op.delay)
            case "unpark":
                return Unpark(task.lane, task.key or "", 1)
            case "pause":
                return Pause(task.lane)
        return Resume(task.lane)

    def _carried_out(self, model: Model, command: AnyCommand) -> Did:
        at = self.side.clock()
        if isinstance(command, Cancel | Replay | Purge | Reschedule):
            stone = model.tombstone
            if model.record is None and stone.until > at:
                again = repeated(command, stone.wish, stone.wish_told)
                if again is not None:
                    return Did(again.value)
            return Did(self._tell(model, command).value)
        if isinstance(command, Unpark) and model.record is not None:
            self._tell(model, Leave())
        elif isinstance(command, Pause) and model.paused is None:
            model.paused = at
        elif isinstance(command, Resume) and model.paused is not None:
            model.stood, model.paused = model.paused_for(at), None
        return Did.APPLIED

    async def _lease(self, worker: str, models: Sequence[Model]) -> None:
        able = {model.plan.task.id for model in models if self._leasable(model)}
        self.calls[worker] += 1
        leased = await self.side.queue.lease(
            [Want(model.plan.task.lane, 1) for model in models],
            len(models), self.calls[worker], worker, 0.0,
        )  # fmt: skip
        self._follow(await self.side.events(), self._by_itself)
        for delivery in leased.deliveries:
            model = self.models[delivery.task.id]
            record = model.record
            if record is None or delivery.token != record.delivery or delivery.task.id not in able:
                raise self.fail(model, f"{delivery} was leased, though it is {record}")
            self._compare(model, "lease", delivery.attempt, record.attempt)
            model.held = (worker, delivery.token)
            model.tokens.append(delivery.token)
        for id in able - {delivery.task.id for delivery in leased.deliveries}:
            raise self.fail(self.models[id], "it was not leased")

    def _leasable(self, model: Model) -> bool:
        record, at = model.record, self.side.clock()
        if record is None or record.state is not State.PENDING or record.parked:
            return False
        ends = expires_at(decode_task(record.raw), record, model.paused_for(at))
        return model.paused is None and (ends is None or ends > at)

    # -- the comparison --------------------------------------------------------------------------

    def _tell(self, model: Model, command: Command) -> Said:
        """Tell the machine what the queue was told; its events are expected from the queue."""
        before = model.record
        verdict, told = model.give(command, self.side.clock())
        model.expected += told
        self._note(model, before, told, command)
        return verdict

    def _compare(self, model: Model, asked: object, said: object, right: object) -> None:
        if said != right:
            raise self.fail(model, f"{asked} was answered with {said}, not {right}")
        model.trace.append(said)

    async def _check_events(self) -> None:
        """The events since the last time are those that the machines told of."""
        happened: dict[str, list[Event]] = defaultdict(list)
        for event in await self.side.events():
            happened[event.id].append(event)
        for id, model in self.models.items():
            if happened[id] != model.expected:
                raise self.fail(model, f"{happened[id]} happened, not {model.expected}")
            model.expected = []
