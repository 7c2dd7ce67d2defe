"""What must hold after every schedule: the shared checker of histories, and what only this
harness can see, because it knows every call and the broker's own log."""

from __future__ import annotations

import math
import re
from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING

from simulation import legal, order, outcomes, punctual, purged, unique
from simulation.broker import WALL
from simulation.net import BEHIND, DEADLINE
from simulation.parts import OPTIONS
from simulation.plan import HEARTBEAT, LEASE
from support.history.checker import Terms, check, tell
from support.history.events import (
    AnyEvent,
    DeclaredDead,
    Delivered,
    Ended,
    FinalState,
    Ledger,
    LimitSet,
    OutageBegan,
    OutageEnded,
    Started,
)
from support.history.verdicts import Finding
from xqueue_core.task import Attempt, Event, EventName, State
from xqueue_core.views import TaskInfo

if TYPE_CHECKING:
    from simulation.world import World

#: One clock, so hardly any tolerance; a lag between threads counts as a wakening.
TERMS = Terms(
    lease=LEASE,
    heartbeat=HEARTBEAT,
    tolerance=0.01,
    limit_within=1.5,
    paused_within=1.2,
    behind=OPTIONS.lease_wait + DEADLINE + BEHIND,
    permits_told=True,
)
#: The last part of a lease, in which nothing starts (seconds).
MARGIN = LEASE / 5
#: A thread's next callback comes so soon (seconds).
WAKING = 0.01
#: How much sooner than a lease after a heartbeat a death may be noticed: rounding (seconds).
ROUNDING = 1e-3
#: How exactly the log's wall times tell a moment: what is closer together is one (seconds).
STAMP = 1e-6


def violations(world: World) -> list[str]:
    """Everything that is wrong, in words."""
    story = [*world.story.events, *_findings(world)]
    report = check(story, TERMS)
    found = [
        f"{verdict.name}: {finding.what}"
        for verdict in report.verdicts.values()
        if verdict.name != "priority"  # ``turns`` is exact
        for finding in verdict.broken
        if not (verdict.name == "limit" and unaware(finding, story))
    ]
    told = tell(story, TERMS)
    found += legal.histories(world)
    found += outcomes.recorded(world, told)
    found += outcomes.overdue(world, told)
    found += deaths(world)
    found += outages(world)
    found += poison(world)
    found += crowds(world.story.events)
    found += stale(world)
    found += unique.doubles(world)
    found += purged.undone(world)
    found += order.turns(world)
    found += punctual.late(world)
    return found


def _findings(world: World) -> list[AnyEvent]:
    """What the system says of itself at the end."""
    now = world.loop.now
    found: list[AnyEvent] = [_final(info, now) for info in world.infos if info is not None]
    found += purged.forgotten(world)
    found += [
        DeclaredDead(at=event.at - WALL, worker=event.worker, id=event.id)
        for event in world.log
        if _lost(event)
    ]
    assert world.stats is not None
    total = world.stats.total()
    found.append(
        Ledger(
            at=now,
            accepted=total.accepted,
            live=total.live,
            final=total.final,
            replayed=total.replayed,
        )
    )
    return found


def _final(info: TaskInfo, now: float) -> FinalState:
    return FinalState(
        at=now,
        id=info.id,
        state=info.state.value,
        reason=info.reason,
        attempt=info.attempt,
        losses=info.losses,
        history=[_delivered(one) for one in info.history],
    )


def _delivered(one: Attempt) -> Delivered:
    ended = one.ended_at - WALL if one.ended_at else 0.0
    began = one.started_at - WALL
    return Delivered(one.delivery, one.attempt, one.worker, one.how, began, ended)


def unaware(finding: Finding, story: list[AnyEvent]) -> bool:
    """True if no more than are allowed remain without the runs that could not know of the limit.

    A worker learns that a lane without a limit has one when it next renews its permits; one that
    was cut off before that learns it when it is back, and may have begun before that.
    """
    starts = [one for one in finding.evidence if isinstance(one, Started)]
    allowed = re.search(r"run at once, (\S+) are allowed$", finding.what)
    explained = sum(
        f" of lane {one.lane} " in finding.what and _could_not_know(one, story) for one in starts
    )
    return allowed is not None and len(starts) - explained <= float(allowed[1])


def _could_not_know(start: Started, story: list[AnyEvent]) -> bool:
    """True if its worker was cut off before it had to know of its lane's first limit."""
    return any(
        began - TERMS.limit_within <= limit.effective <= ended
        and limit.at <= start.at <= ended + 1.0
        for began, ended in _cut_off(story, start.worker)
        for limit in _first_limits(story, start.lane)
    )


def _first_limits(story: list[AnyEvent], lane: str) -> list[LimitSet]:
    """Limits of a lane that had none before."""
    mine = [one for one in story if isinstance(one, LimitSet) and one.lane == lane]
    return [
        one
        for n, one in enumerate(mine)
        if one.limit is not None and (n == 0 or mine[n - 1].limit is None)
    ]


def _cut_off(story: list[AnyEvent], worker: str) -> list[tuple[float, float]]:
    """When this worker could not renew."""
    mine = [one for one in story if isinstance(one, OutageBegan) and one.worker == worker]
    ends = [one.at for one in story if isinstance(one, OutageEnded) and one.worker == worker]
    return [(one.at, next((at for at in ends if at >= one.at), math.inf)) for one in mine]


# -- what only this harness can tell ---------------------------------------------------------------


def deaths(world: World) -> list[str]:
    """Nobody is declared dead within a lease of a heartbeat that reached the broker (P1.4)."""
    found = []
    gone = {process.name: process.gone_at for process in world.left}
    for event in world.log:
        at = event.at - WALL
        if not _lost(event) or at >= gone.get(event.worker, at + 1.0):
            continue
        beats = world.broker.extended.get(event.worker, [])
        # One that comes late helps to give the worker up, and then registers it anew.
        last = bisect_left(world.broker.acknowledged.get(event.worker, []), at - STAMP)
        if last and at - beats[last - 1] < LEASE - ROUNDING:
            found.append(
                f"G3: {event.worker} was declared dead at {at - 1000:.6f}, "
                f"{at - beats[last - 1]:.3f} s after a heartbeat"
            )
    return found


def _lost(event: Event) -> bool:
    """A delivery was lost: the last one that a task may lose ends it."""
    return event.name is EventName.LOST or event.reason == "worker_lost"


def outages(world: World) -> list[str]:
    """Nothing expires for time in which nobody could renew: a whole lease is left (P1.4)."""
    found = []
    everybody = sorted(at for beats in world.broker.acknowledged.values() for at in beats)
    for began, ended in world.outages:
        reached = bisect_left(everybody, ended) - bisect_left(everybody, began)
        if ended - began < 3 * HEARTBEAT or reached:
            continue
        for event in world.log:
            at = event.at - WALL
            if not _lost(event) or not ended <= at < ended + LEASE - ROUNDING:
                continue
            beats = world.broker.acknowledged.get(event.worker, [])
            last = bisect_left(beats, began)
            if last and began - beats[last - 1] < LEASE - 3 * HEARTBEAT:
                found.append(
                    f"G3: {event.worker} was declared dead {at - ended:.3f} s after an outage"
                )
    return found


def stale(world: World) -> list[str]:
    """Nothing starts but under a heartbeat that was sent within the lease less its margin (P1.3).

    A pause between the look at the lease and the first instruction is nobody's fault: in a
    thread, for a coroutine looks and begins in one step. Nor does anything start that the broker
    has declared lost before it took a heartbeat of this worker.
    """
    found = []
    lost = {(event.id, event.delivery): event.at - WALL for event in world.log if _lost(event)}
    woken = {one.name: one.woken for one in (*world.left, *world.processes)}
    for start in world.story.events:
        if not isinstance(start, Started):
            continue
        beats = world.broker.extended.get(start.worker, [])
        last = bisect_right(beats, start.at)  # what is acknowledged may start it at once
        age = start.at - beats[last - 1] if last else math.inf
        threaded = world.jobs[start.id].task.lane == "p"
        asleep = threaded and any(0 <= start.at - at < WAKING for at in woken[start.worker])
        since = lost.get((start.id, start.token), math.inf)
        heard = world.broker.heard.get(start.worker, [])
        if any(since < sent and at < start.at for sent, at in heard) and not asleep:
            found.append(
                f"G3: {start.id} started on {start.worker} {start.at - since:.3f} s after it was "
                "lost, and a heartbeat was sent and answered since"
            )
        if age > LEASE - MARGIN + WAKING and not asleep:
            found.append(f"G3: {start.id} started on {start.worker} with a lease {age:.3f} s old")
    return found


def poison(world: World) -> list[str]:
    """Poison ends as worker_lost after its third loss; it takes nobody along (G5)."""
    found = []
    killed = {process.name: process.gone_at for process in world.left if process.poisoned}
    for info in world.infos:
        if info is None:
            continue
        job = world.jobs[info.id]
        lost = [one for one in info.history if one.how == "lost"]
        poisoned = [one for one in lost if one.ended_at - WALL >= killed.get(one.worker, math.inf)]
        if job.poison and (info.state, info.reason) != (State.FAILED, "worker_lost"):
            found.append(f"G5: the poison ended as {info.state}, {info.reason}")
        elif job.poison and info.losses != 3:
            found.append(f"G5: the poison had {info.losses} losses")
        elif not job.poison and info.reason == "worker_lost" and poisoned == lost:
            found.append(f"G5: {info.id} fell to the poison beside it: {lost}")
    return found


def crowds(events: list[AnyEvent]) -> list[str]:
    """No worker runs more than it has slots, or threads."""

    found = []
    running: dict[str, dict[tuple[str, int], str]] = {}
    for event in events:
        if isinstance(event, Started):
            mine = running.setdefault(event.worker, {})
            mine[event.id, event.token] = event.lane
            plain = sum(lane == "p" for lane in mine.values())
            if len(mine) > OPTIONS.concurrency or plain > OPTIONS.threads:
                found.append(f"G10: {event.worker} runs {len(mine)} at once: {sorted(mine)}")
        elif isinstance(event, Ended):
            for mine in running.values():
                mine.pop((event.id, event.token), None)
    return found
