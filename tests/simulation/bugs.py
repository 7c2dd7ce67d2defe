"""Bugs planted in an engine, to see that the simulation finds them: none is in the product."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from simulation.parts import Parts
from xqueue_core.calls import Hold
from xqueue_core.permits import Keep, Permit, Renewed
from xqueue_core.task import (
    AnyOutcome,
    Canceled,
    Failed,
    Failure,
    HandBack,
    Parked,
    RetryAt,
    Success,
)
from xqueue_core.worker.grip import Grip
from xqueue_core.worker.job import Job
from xqueue_core.worker.lane import Lane
from xqueue_core.worker.permits import PermitDesk


def acknowledged_first(parts: Parts) -> None:
    """A task is recorded as done when it is given to the handlers."""
    engine: Any = parts.engine
    send = engine.send

    def first(item: object) -> None:
        if isinstance(item, Job):
            engine.settler.add(item, Success())
        send(item)

    engine.send = first


def no_heartbeat(parts: Parts) -> None:
    """After the first one, heartbeats are pretended."""
    keeper: Any = parts.engine.keeper
    real = keeper.beat
    beaten: list[bool] = []

    async def beat(*, leaving: bool = False) -> bool:
        if leaving or not beaten:
            done: bool = await real(leaving=leaving)
            beaten.extend([done] * done)
            return done
        keeper._term.acknowledged(keeper._tools.clock())
        return True

    keeper.beat = beat


def forgotten_hand_back(parts: Parts) -> None:
    """What is to be handed back is dropped."""
    engine: Any = parts.engine
    add = engine.settler.add

    def forgetful(job: Job, outcome: Any) -> None:
        if isinstance(outcome, HandBack):
            engine.desk.settling.discard(job)
        else:
            add(job, outcome)

    engine.settler.add = forgetful


def stale_start(parts: Parts) -> None:
    """The handlers' side believes in every lease."""

    class Always:
        def fresh(self, now: float) -> bool:
            return True

    executor: Any = parts.executor
    executor._term = Always()


def kept_permit(parts: Parts) -> None:
    """A permit that is to be yielded is used on."""
    permits: Any = parts.engine.permits
    real = permits._semaphore

    class Deaf:
        def __getattr__(self, name: str) -> Any:
            return getattr(real, name)

        async def renew(
            self, worker: str, held: Sequence[Permit], watch: Sequence[str], *times: float
        ) -> Renewed:
            told: Renewed = await real.renew(worker, held, watch, *times)
            kept: list[Keep] = [Keep.KEPT if one is Keep.YIELD else one for one in told.permits]
            return Renewed(kept, told.versions)

    permits._semaphore = Deaf()


def leaked_permits(parts: Parts) -> None:
    """Every other permit never goes back."""
    permits: Any = parts.engine.permits
    release, count = permits.release, itertools.count()

    def forgetful(grip: Grip) -> None:
        if next(count) % 2:
            permits._held.pop(grip.permit.id, None)
        else:
            release(grip)

    permits.release = forgetful


def hoarded_permits(parts: Parts) -> None:
    """Permits of lanes are asked for while nothing may be fetched, and kept when they are of no
    use, as long as the worker does not end."""
    engine: Any = parts.engine
    limiter, tell = engine.limiter, engine.renewal._told

    class Hoarder(Lane):
        __slots__ = ()

        def give_back(self, permits: PermitDesk, count: int) -> None:
            if engine.stopping.is_set():
                super().give_back(permits, count)

    def told(grip: Grip, keep: Keep) -> None:
        if grip.job is not None or keep is Keep.LOST:
            tell(grip, keep)

    for lane in limiter._lanes.values():
        lane.__class__ = Hoarder
    limiter._resting = limiter._shut = limiter._asking._shut = engine.stopping.is_set
    engine.renewal._told = told


def unslotted_keys(parts: Parts) -> None:
    """A task that was fetched ahead keeps its key's permit for as long as it waits for a slot."""
    renewal: Any = parts.engine.renewal
    renewal._overdue = list


def deaf_to_pauses(parts: Parts) -> None:
    """What heartbeats say of paused lanes is not heard: what was fetched is started."""
    keeper: Any = parts.engine.keeper
    told = keeper._told
    keeper._told = lambda jobs, reply: told(jobs, msgspec.structs.replace(reply, paused=[]))


def deaf_to_orders(parts: Parts) -> None:
    """What heartbeats say of orders to be quiet, or to end, is not heard."""
    keeper: Any = parts.engine.keeper
    told = keeper._told
    deaf = {"quiet": False, "stop": False}
    keeper._told = lambda jobs, reply: told(jobs, msgspec.structs.replace(reply, **deaf))


def quiet_for_ever(parts: Parts) -> None:
    """An order to be quiet is never lifted."""
    keeper: Any = parts.engine.keeper
    told, heard = keeper._told, [False]

    def tell(jobs: Any, reply: Any) -> None:
        heard[0] = heard[0] or reply.quiet
        told(jobs, msgspec.structs.replace(reply, quiet=heard[0]))

    keeper._told = tell


def deaf_to_cancels(parts: Parts) -> None:
    """What heartbeats say of canceled tasks is not heard."""
    keeper: Any = parts.engine.keeper
    told = keeper._told

    def tell(jobs: Any, reply: Any) -> None:
        held = [Hold.KEPT if one is Hold.CANCELED else one for one in reply.held]
        told(jobs, msgspec.structs.replace(reply, held=held))

    keeper._told = tell


def lost_and_uncounted(parts: Parts) -> None:
    """What runs under a permit that the semaphore has lost is never registered again."""
    engine: Any = parts.engine
    limiter, find = engine.limiter, engine.limiter.uncounted
    limiter.uncounted = lambda: [job for job in find() if job.permit is None]


def never_unparked(parts: Parts) -> None:
    """Who was parked is not asked for again."""
    lines: Any = parts.engine.lines

    async def look(semaphore: object) -> None:
        """See nothing."""

    lines.look = lines._unpark_freed = look


def sleepy(parts: Parts) -> None:
    """It looks for tasks every now and then."""
    fetcher: Any = parts.engine.fetcher
    ask = fetcher._ask

    async def later(asked: object) -> object:
        await parts.engine.tools.sleep(0.4)
        return await ask(asked)

    fetcher._ask = later


def _instead(parts: Parts, change: Callable[[Job, AnyOutcome], AnyOutcome]) -> None:
    """Another outcome is settled than the one that came of the handler."""
    settler: Any = parts.engine.settler
    add = settler.add
    settler.add = lambda job, outcome: add(job, change(job, outcome))


def forgotten_delay(parts: Parts) -> None:
    """Retries come at once."""

    def change(job: Job, outcome: AnyOutcome) -> AnyOutcome:
        if isinstance(outcome, RetryAt):
            return RetryAt(0.0, outcome.failure, timed_out=outcome.timed_out)
        return outcome

    _instead(parts, change)


def charged_unstarted(parts: Parts) -> None:
    """What was never started is handed back as if it had been running."""

    def change(job: Job, outcome: AnyOutcome) -> AnyOutcome:
        if isinstance(outcome, HandBack) and not outcome.unable and not job.started:
            return HandBack(ran=True, reason=outcome.reason)
        return outcome

    _instead(parts, change)


def charged_parks(parts: Parts) -> None:
    """What must wait for its key is handed back as if it had been running."""

    def change(job: Job, outcome: AnyOutcome) -> AnyOutcome:
        return HandBack(ran=True, reason="stop") if isinstance(outcome, Parked) else outcome

    _instead(parts, change)


def no_second_chance(parts: Parts) -> None:
    """The first failure is the last."""

    def change(job: Job, outcome: AnyOutcome) -> AnyOutcome:
        return Failed(outcome.failure) if isinstance(outcome, RetryAt) else outcome

    _instead(parts, change)


def failed_success(parts: Parts) -> None:
    """What has returned is recorded as failed."""

    def change(job: Job, outcome: AnyOutcome) -> AnyOutcome:
        return Failed(Failure("exception")) if isinstance(outcome, Success) else outcome

    _instead(parts, change)


def canceled_success(parts: Parts) -> None:
    """What has returned is recorded as canceled."""

    def change(job: Job, outcome: AnyOutcome) -> AnyOutcome:
        return Canceled() if isinstance(outcome, Success) else outcome

    _instead(parts, change)


def no_deadlines(parts: Parts) -> None:
    """Handlers may run as long as they like."""
    executor: Any = parts.executor
    executor._deadlines.watch = lambda *arguments, **named: None


BUGS: Mapping[str, Callable[[Parts], None]] = {
    bug.__name__: bug
    for bug in (
        acknowledged_first,
        no_heartbeat,
        forgotten_hand_back,
        stale_start,
        kept_permit,
        leaked_permits,
        hoarded_permits,
        unslotted_keys,
        deaf_to_pauses,
        deaf_to_orders,
        quiet_for_ever,
        deaf_to_cancels,
        lost_and_uncounted,
        never_unparked,
        sleepy,
        forgotten_delay,
        charged_unstarted,
        charged_parks,
        no_second_chance,
        failed_success,
        canceled_success,
        no_deadlines,
    )
}
