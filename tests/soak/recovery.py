"""How long it took until what a killed worker had been running started elsewhere."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from statistics import median
from typing import Any

from support.history.events import Killed, LimitSet, Renewed, Stopped
from support.history.story import Run, Story

#: Beyond the lease, within which what a killed worker ran starts elsewhere (seconds).
DETECTION = 2.0
#: Losses from which on a task runs alone in its process, so that it waits for that.
ALONE = 2
#: Cases from which on a 99th percentile says something.
ENOUGH = 100
#: Who waits for so long (seconds) is in a line.
LINE = 0.5
#: Name of the figure that the promise is about.
FREE = "free: nothing else to wait for"
#: Name of the figure of which not one may be late.
QUIET = "free, and no other stopped"
#: The first of them without regard to times in which nobody renewed.
PLAIN = "free, by the kill alone"


@dataclass(slots=True, frozen=True)
class Blown:
    """One kill: how many runs it cut off, and after how long each started again (seconds)."""

    pid: int
    sent: float
    running: int
    delays: tuple[float, ...]
    free: tuple[float, ...]  # those of tasks that had nothing else to wait for
    plain: tuple[float, ...]  # the same from the kill on, whoever could renew meanwhile
    while_stopped: bool  # another worker stood still in its last lease, perhaps with the file


def silences(story: Story) -> list[tuple[float, float]]:
    """When no worker renewed for two heartbeats, by the broker's own times of their heartbeats.

    That is an outage: everybody gets a whole lease from its end on (P1.4), the dead as well. A
    broker notes heartbeats to half of one, so that three halves may look like two whole ones.
    """
    heard = sorted(
        (one.taken, one.sent, one.at) for one in story.events if isinstance(one, Renewed)
    )
    longest = 1.5 * story.terms.heartbeat
    return [
        (sent, at)
        for (before, sent, _), (after, _, at) in itertools.pairwise(heard)
        if after - before > longest
    ]


def blown(story: Story) -> list[Blown]:
    """Every kill of the history."""
    limited = frozenset(one.lane for one in story.events if isinstance(one, LimitSet))
    stops = [
        blow for blows in story.blows.values() for blow in blows if isinstance(blow.event, Stopped)
    ]
    quiet = silences(story)
    found = []
    for worker, blows in story.blows.items():
        for blow in blows:
            if not isinstance(blow.event, Killed):
                continue
            cut = [run for run in story.runs if run.worker == worker and _cut(run, blow.begin)]
            free = [
                run
                for run in cut
                if _free(story, run, limited) and not _behind(story, run, blow.begin)
            ]
            near = any(
                one.begin - story.terms.lease <= blow.begin <= one.end + story.terms.lease
                for one in stops
            )
            found.append(
                Blown(
                    blow.event.pid,
                    blow.begin,
                    len(cut),
                    _delays(story, cut, blow.begin, quiet),
                    _delays(story, free, blow.begin, quiet),
                    _delays(story, free, blow.begin, []),
                    near,
                )
            )
    return sorted(found, key=lambda one: one.sent)


def _cut(run: Run, sent: float) -> bool:
    return run.end is None and run.start.at <= sent


def _free(story: Story, run: Run, limited: frozenset[str]) -> bool:
    """True if it waits for no permit and for no process, and need not be alone."""
    final = story.finals.get(run.id)
    return (
        not run.start.key
        and not run.start.child
        and run.start.lane not in limited
        and (final is None or final.losses < ALONE)
    )


def _behind(story: Story, run: Run, sent: float) -> bool:
    """True if more important ones of its lane, which had waited long, came before it to the end.

    A lane through which tasks flow keeps none waiting for so long.
    """
    at = _next(story, run, sent)
    if at is None or at - sent < story.terms.lease + 2 * LINE:
        return False
    return any(
        one.start.lane == run.start.lane
        and one.start.priority > run.start.priority
        and at - LINE <= one.start.at < at
        and any(submit.ready <= one.start.at - LINE for submit in story.submits.get(one.id, ()))
        and one.start.attempt == 1
        for one in story.runs
    )


def _delays(
    story: Story, runs: list[Run], sent: float, quiet: list[tuple[float, float]]
) -> tuple[float, ...]:
    again = [_again(story, run, sent, quiet) for run in runs]
    return tuple(sorted(one for one in again if one is not None))


def _again(story: Story, run: Run, sent: float, quiet: list[tuple[float, float]]) -> float | None:
    """Seconds until it started again; None if it must not (canceled, given up).

    Where the broker was out of everybody's reach meanwhile, or nobody renewed, they count from the
    end of that.
    """
    at = _next(story, run, sent)
    if at is None:
        return None
    away = [(begin, end) for begin, end, _ in story.cuts[""]]
    for begin, end in sorted([*away, *quiet]):
        if begin < at and begin <= sent + story.terms.lease + DETECTION:
            sent = max(sent, end)
    return max(0.0, at - sent)


def _next(story: Story, run: Run, sent: float) -> float | None:
    """When it started again; None if it did not."""
    later = [
        one.start.at
        for one in story.by_task[run.id]
        if one.start.token > run.start.token and one.start.at > sent
    ]
    return min(later) if later else None


def summary(kills: list[Blown], bound: float) -> dict[str, Any]:
    """p50, p99 and max of every task's delay, and of each kill's longest."""
    every = sorted(delay for one in kills for delay in one.delays)
    free = sorted(delay for one in kills for delay in one.free)
    quiet = sorted(delay for one in kills if not one.while_stopped for delay in one.free)
    plain = sorted(delay for one in kills for delay in one.plain)
    longest = sorted(one.delays[-1] for one in kills if one.delays)
    return {
        "bound": bound,
        "tasks": _spread(every, bound),
        FREE: _spread(free, bound),
        QUIET: _spread(quiet, bound),
        PLAIN: _spread(plain, bound),
        "longest of each kill": _spread(longest, bound),
    }


def late(recovery: dict[str, Any]) -> list[str]:
    """What is too late of a summary, in words."""
    found = []
    free, quiet = recovery[FREE], recovery[QUIET]
    if free["n"] >= ENOUGH and free["p99"] > recovery["bound"]:
        found.append("what killed workers ran did not start elsewhere in time")
    if quiet.get("late"):
        found.append(
            f"{quiet['late']} of {quiet['n']} that waited for nothing but the lease started "
            f"elsewhere after more than {recovery['bound']:g} s, up to {quiet['max']} s"
        )
    return found


def _spread(values: list[float], bound: float) -> dict[str, Any]:
    if not values:
        return {"n": 0}
    return {
        "n": len(values),
        "p50": round(median(values), 3),
        "p99": round(values[min(len(values) - 1, int(len(values) * 0.99))], 3),
        "max": round(values[-1], 3),
        "late": sum(one > bound for one in values),
    }
