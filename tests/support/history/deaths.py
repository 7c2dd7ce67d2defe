"""Decisions about deaths: a worker declared dead without cause, a task given up for them."""

from __future__ import annotations

import math
from dataclasses import dataclass

from support.history.events import AnyEvent, Born, DeclaredDead, FinalState, Killed, OutageBegan
from support.history.story import Blow, Story
from support.history.verdicts import Verdict

#: Losses after which a task is given up (docs/protocols.md).
MAX_LOSSES = 3


@dataclass(slots=True, frozen=True)
class Loss:
    """A delivery that was lost: not held before ``begin``, and no longer at ``end``."""

    worker: str
    begin: float
    end: float
    at: float  # when it was recorded; nan if the history does not tell
    started: bool  # its handler was entered
    said: bool  # by the task's history; otherwise its run has no end, and nothing is said of it


def worker_lost(story: Story) -> Verdict:
    """A task is given up as ``worker_lost`` only after three workers that held it were struck.

    Each by a blow of its own that fell while it held the task: a SIGKILL, a stop past the lease,
    or being cut off from the broker, which alone may cost a worker several leases.
    """
    verdict = Verdict("worker_lost")
    for final in story.finals.values():
        if final.reason != "worker_lost":
            continue
        verdict.looked_at += 1
        blows = [blow.event for blow in _struck(story, final)]
        if len(blows) >= MAX_LOSSES:
            verdict.excuse(f"{final.id}: its workers were struck {len(blows)} times", *blows)
        else:
            verdict.blame(
                f"{final.id} was given up, but its workers were struck {len(blows)} times",
                final,
                *blows,
            )
    return verdict


def dead_untouched(story: Story) -> Verdict:
    """No worker is declared dead that nobody killed, stopped or cut off for long enough.

    Each time anew: a worker that was stopped and came back is alive. A task's history says that
    its worker was declared dead while it held the task.
    """
    blows = story.blows
    declared: dict[str, list[tuple[AnyEvent, bool]]] = {}
    for event in story.events:
        if isinstance(event, DeclaredDead):
            rightly = _dying(story, blows.get(event.worker, []), event.at)
            declared.setdefault(event.worker, []).append((event, rightly))
        elif isinstance(event, FinalState):
            for loss in _losses(story, event):
                if loss.said:
                    rightly = bool(_causes(story, loss))
                    declared.setdefault(loss.worker, []).append((event, rightly))
    workers = {one.worker for one in story.events if isinstance(one, Born)}
    workers |= {run.worker for run in story.runs} | declared.keys()
    verdict = Verdict("dead", len(workers))
    for worker, events in declared.items():
        wrong = next((event for event, rightly in events if not rightly), None)
        mine = blows.get(worker, [])
        if not mine:
            verdict.blame(f"{worker} was declared dead, and nobody touched it", events[0][0])
        elif wrong is not None:
            what = f"{worker} was declared dead, and had not been touched just then"
            verdict.blame(what, wrong, *(blow.event for blow in mine))
        else:
            verdict.excuse(f"{worker} was declared dead", mine[0].event)
    return verdict


def _dying(story: Story, blows: list[Blow], at: float) -> bool:
    """True if one of these blows explains a death then: it is noticed a while after its end."""
    return any(story.dying(blow, at) for blow in blows)


def _losses(story: Story, final: FinalState) -> list[Loss]:
    """The deliveries of a task that were lost, in order."""
    runs = {run.start.token: run for run in story.by_task.get(final.id, ())}
    told = {one.token: one for one in final.history}
    unended = {token for token, run in runs.items() if run.end is None} - told.keys()
    found = []
    for token in sorted(unended | {one.token for one in final.history if one.how == "lost"}):
        run, entry = runs.get(token), told.get(token)
        if run is not None:
            # Code that slept over its own loss starts after it.
            asleep = story.sleepwalk(run) is not None
            begin = run.start.at - (story.terms.waking if asleep else 0.0)
        else:
            begin = (entry.began if entry is not None else 0.0) or -math.inf
        at = (entry.ended if entry is not None else 0.0) or math.nan
        # It was over before the next one could start, whatever the history says.
        later = [one.start.at for other, one in runs.items() if other > token]
        end = min([final.at, *later, *([] if math.isnan(at) else [at])])
        worker = run.worker if run is not None else told[token].worker
        found.append(Loss(worker, begin, end, at, run is not None, token in told))
    return found


def _over(story: Story, loss: Loss, blow: Blow) -> float:
    """Until when a delivery may have come to the worker that this blow cost it."""
    if not isinstance(blow.event, Killed):
        return blow.end
    # What the dead have asked for may be leased to them a little later.
    return blow.event.at + (0.0 if loss.started else story.terms.behind)


def _causes(story: Story, loss: Loss) -> list[Blow]:
    """The blows that may have cost the worker this delivery, which it held when they fell."""
    return [
        blow
        for blow in story.blows.get(loss.worker, ())
        if loss.begin <= _over(story, loss, blow)
        and blow.due - story.terms.tolerance <= loss.end
        and (math.isnan(loss.at) or _dying(story, [blow], loss.at))
    ]


def _struck(story: Story, final: FinalState) -> list[Blow]:
    """A blow for each of the last deliveries that were lost, as far as there is one.

    A blow serves once, and a worker is killed once; an outage serves for each lease that may run
    out in it. Who has lost one delivery holds the next for a lease at least.
    """
    found: list[Blow] = []
    spent: set[tuple[str, type[AnyEvent], float]] = set()
    free: dict[str, float] = {}  # from when on a worker may lose the next
    for loss in _losses(story, final)[-MAX_LOSSES:]:
        blows = [(_over(story, loss, blow), blow) for blow in _causes(story, loss)]
        for _, blow in sorted(blows, key=lambda one: one[0]):
            begin = 0.0 if isinstance(blow.event, Killed) else blow.begin
            name = loss.worker, type(blow.event), begin
            when = max(blow.due, free.get(loss.worker, blow.due))
            if name in spent or when - story.terms.tolerance > min(loss.end, blow.end):
                continue
            if not isinstance(blow.event, OutageBegan):
                spent.add(name)
            lost = when if math.isnan(loss.at) else max(when, loss.at)
            free[loss.worker] = lost + story.terms.long
            found.append(blow)
            break
    return found
