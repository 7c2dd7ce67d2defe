"""Is what the broker recorded of each delivery what its handler came to? Derived from the plan."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from simulation.broker import WALL
from simulation.net import BEHIND, DEADLINE
from simulation.parts import specs
from simulation.process import RETRY
from support.history.story import Run, Story
from xqueue_core.task import Event, EventName, State
from xqueue_core.worker.settler import URGENT

if TYPE_CHECKING:
    from simulation.world import World

_CLOSING = frozenset(
    {
        EventName.RETRY,
        EventName.HANDED_BACK,
        EventName.PARKED,
        EventName.LOST,
        EventName.FINISHED,
    }
)
#: Why an attempt failed, by what the handler does.
_REASONS = {"raise": "exception", "retry": "retry", "reject": "rejected"}
#: A deadline is set a little before the handler's first instruction (seconds).
SOON = 0.35
#: A worker's last heartbeat is carried out so long after its settler was stopped, at most.
LAST = URGENT + DEADLINE + BEHIND + 0.1

Place = tuple[str, int]  # a delivery: task, token


def recorded(world: World, story: Story) -> list[str]:
    """Every delivery that was recorded otherwise than its handler ended."""
    runs: Mapping[Place, Run] = {(run.id, run.start.token): run for run in story.runs}
    canceled = {
        (event.id, event.delivery)
        for event in world.log
        if event.name is EventName.CANCEL_REQUESTED
    }
    found = []
    for place, event, charged in _closings(world.log):
        run = runs.get(place)
        if run is not None and run.start.at > event.at - WALL:
            continue  # it slept over its own end
        if run is None and event.name is EventName.HANDED_BACK and charged:
            wrong = "at the cost of an attempt, and it has not run"
        else:
            wrong = _wrong(world, story, run, event, canceled=place in canceled)
        if wrong:
            at = event.at - WALL - 1000.0
            found.append(f"outcome: {event.id} at {at:.6f}: {event.name} {event.state} {wrong}")
    return found


def _closings(log: list[Event]) -> Iterator[tuple[Place, Event, bool]]:
    """What ended each delivery, and whether its attempt counts."""
    open_: dict[Place, int] = {}
    for event in log:
        place = event.id, event.delivery
        if event.name is EventName.LEASED:
            open_[place] = event.attempt
        elif event.name in _CLOSING and place in open_:
            yield place, event, event.attempt >= open_.pop(place)


def _wrong(world: World, story: Story, run: Run | None, event: Event, *, canceled: bool) -> str:
    """What is wrong about this end of a delivery, or ""."""
    if event.name is EventName.LOST or event.reason == "worker_lost":
        return ""  # decided elsewhere
    if event.state is State.CANCELED:
        return _canceled(world, story, run, event) if canceled else "and nobody asked for it"
    if run is None:
        unrun = event.name in (EventName.HANDED_BACK, EventName.PARKED)
        return "" if unrun or event.reason == "process_timeout" else "and it has not run"
    how = _how(run, event)
    if event.state is State.SUCCESS:
        return "" if how == "returned" else f"although it {how}"
    if event.name in (EventName.RETRY, EventName.FINISHED):
        return _failed(world, run, event, how)
    stopping = _stopping(world, run)
    # Code that runs on when time is up ends with its process.
    given_up = _looked(run, how) or how in ("canceled", "runs on")
    # Its worker has tried to record the outcome until its last heartbeat, and that got through.
    untold = world.broker.untold.get((run.id, run.start.token), -math.inf)
    given_up |= event.reason == "left" and untold > event.at - WALL - LAST
    # It ended only after its worker had given it up, and before that was recorded.
    back = story.handed_back.get((run.id, run.start.token))
    given_up |= back is not None and run.end is not None and back.at < run.end.at
    if event.name is EventName.HANDED_BACK and stopping and given_up:
        return ""
    return f"although it {how}{' and its worker stops' if stopping else ''}"


def _how(run: Run, event: Event) -> str:
    if run.end is None or run.end.at > event.at - WALL + 1e-6:
        return "runs on"
    return run.end.how


def _ran(run: Run, event: Event) -> float:
    """For how many seconds it had run by then."""
    now = event.at - WALL
    return min(now, run.end.at if run.end is not None else now) - run.start.at


def _stopping(world: World, run: Run) -> bool:
    processes = (*world.left, *world.processes)
    return any(one.stopping for one in processes if one.name == run.worker)


def _looked(run: Run, how: str) -> bool:
    """True of a plain function that returned: it looks, and may have left work undone."""
    return how == "returned" and run.start.lane == "p"


def _canceled(world: World, story: Story, run: Run | None, event: Event) -> str:
    """A cancel that was asked for is recorded unless the handler succeeded, or was lost."""
    if run is None or (how := _how(run, event)) != "returned":
        return ""
    if _ran(run, event) >= (world.jobs[run.id].task.process_timeout or math.inf) - SOON:
        return ""  # its time was up, whatever it returned
    back = story.handed_back.get((run.id, run.start.token))
    # As its worker stops it is handed back, and who asked for a cancel does not get it run again.
    if back is not None and back.ran and _looked(run, how) and _stopping(world, run):
        return ""
    struck = any(
        blow.due <= event.at - WALL
        and run.start.at <= blow.end + story.terms.lease + story.terms.waking
        for blow in story.blows.get(run.worker, ())
    )
    return "" if struck else "although it returned"


def _failed(world: World, run: Run, event: Event, how: str) -> str:
    job = world.jobs[run.id]
    timed_out = event.reason == "process_timeout"
    took = _ran(run, event)
    if timed_out and took < (job.task.process_timeout or 0.0) - SOON:
        return f"after {took:.3f} s"
    if not timed_out and (how, event.reason) != ("raised", _REASONS[job.how]):
        return f"as {event.reason} although it {how}"
    last = run.start.attempt > job.task.max_retry
    final = last or (job.how == "reject" and not timed_out)
    if final != (event.name is EventName.FINISHED):
        return f"at attempt {run.start.attempt} of {job.task.max_retry + 1}"
    if final:
        due = State.TIMEOUT if timed_out else State.FAILED
        return "" if event.state is due else f"instead of {due}"
    delay = world.broker.retries.get((run.id, run.start.token), 0.0)
    if job.how == "retry" and not timed_out:
        return "" if delay == RETRY else f"in {delay:.3f} s, {RETRY} were asked for"
    most = specs()[job.task.type].retry.delay(run.start.attempt, lambda: 1.0)
    return "" if 0 < delay <= most else f"in {delay:.3f} s of {most:.3f}"


def overdue(world: World, story: Story) -> list[str]:
    """Handlers that ran too long and were not told so in time."""
    found = []
    for run in story.runs:
        limit = world.jobs[run.id].task.process_timeout
        if limit is None or run.until - run.start.at <= limit:
            continue
        due = _awake(story, run, run.start.at + limit, story.terms.told_within)
        told = min(run.until, run.told.at if run.told is not None else run.until)
        if told > due:
            found.append(f"deadline: {run.id} ran {told - run.start.at:.3f} s of {limit:.3f}")
    return found


def _awake(story: Story, run: Run, at: float, span: float) -> float:
    """When its worker has had so much time since then in which it was not frozen.

    Its timer may be late, or its loop blocked, when it is frozen: it has the rest afterwards.
    """
    freezes = [blow for blow in story.blows.get(run.worker, ()) if blow.stopped]
    for blow in sorted(freezes, key=lambda one: one.begin):
        if blow.begin < at + span and at < blow.end:
            span -= max(0.0, blow.begin - at)
            at = blow.end
    return at + span
