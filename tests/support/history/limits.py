"""Decisions about what may run side by side, and in which order."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterator

from support.history.events import Killed, LimitSet, Started
from support.history.story import Run, Story
from support.history.verdicts import Verdict


def over_limit(story: Story) -> Verdict:
    """Nothing starts while as many of its lane or key run as the limit allows.

    Those held when a limit was lowered drain beside those that it allows. A permit is held by
    a run or used at once for the next one, so what has ended and had no successor within a lease
    is drained: nothing takes its place above the limit.
    A run counts until its end, its worker's SIGKILL, or the moment from which its worker, that
    was stopped or cut off, may have lost the permit: the code may outlive that (G6). Where
    renewals are told, a worker that still renews in bad weather loses none.
    """
    verdict = Verdict("limit")
    groups: defaultdict[tuple[str, str], list[Run]] = defaultdict(list)
    for run in story.runs:
        groups["lane", run.start.lane].append(run)
        if run.start.key:
            groups["key", run.start.key].append(run)
    settings: defaultdict[tuple[str, str], list[LimitSet]] = defaultdict(list)
    for event in story.events:
        if isinstance(event, LimitSet):
            settings["lane" if event.lane else "key", event.lane or event.key].append(event)
    for place, runs in groups.items():
        if place in settings:
            _check(story, verdict, place, runs, settings[place])
    return verdict


def _check(
    story: Story,
    verdict: Verdict,
    place: tuple[str, str],
    runs: list[Run],
    settings: list[LimitSet],
) -> None:
    active: list[tuple[float, Run]] = []  # until when each counts
    peaks = Peaks(story.terms.lease)
    for run in runs:
        now = run.start.at
        active = [one for one in active if one[0] > now]
        verdict.looked_at += 1
        blow = story.sleepwalk(run)
        if blow is not None:
            verdict.excuse(f"{run.id} started by a worker that was asleep", blow.event, run.start)
            continue
        before = peaks.before(now)
        until = _counts_until(story, run)
        active.append((until, run))
        peaks.add(now, until, len(active))
        most, drains, since = _allowed(settings, now, story.terms.limit_within)
        above = min(drains, sum(one.start.at <= since for _, one in active))
        if now > since + story.terms.lease:
            above = min(above, max(0.0, before - most))
        most += above
        if len(active) > most:
            verdict.blame(
                f"{len(active)} of {' '.join(place)} run at once, {most:g} are allowed",
                *(one.start for _, one in active),
            )


class Peaks:
    """How many ran at once within the last ``seconds``, as far as starts tell."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._runs: list[tuple[float, float, int]] = []  # start, end, how many ran then

    def add(self, at: float, until: float, active: int) -> None:
        """One starts, and with it so many run."""
        self._runs.append((at, until, active))

    def before(self, at: float) -> int:
        """The most that ran at once in the time until this start."""
        begin = at - self._seconds
        self._runs = [one for one in self._runs if one[1] > begin]
        ran_on = sum(start <= begin for start, _, _ in self._runs)
        return max([ran_on, *(count for start, _, count in self._runs if start > begin)])


def _counts_until(story: Story, run: Run) -> float:
    until = run.until
    struck = [
        one
        for one in story.blows.get(run.worker, ())
        if not isinstance(one.event, Killed) and one.end >= run.start.at
    ]
    lapse = story.lapse(run) if struck else math.inf
    for blow in struck:
        if lapse <= blow.end:
            until = min(until, max(blow.due, lapse, run.start.at))
    return until


def _allowed(settings: list[LimitSet], at: float, within: float) -> tuple[float, float, float]:
    """The highest limit that may be in effect then; inf where there is none (yet).

    And how many may still drain beside it if it was lowered: of the runs that began before the
    time which is the third. What they hold is not reused, while the permits within the limit
    are, so both run side by side until the last of them ends.
    """
    most, drains, since = math.inf, 0.0, 0.0
    for n, one in enumerate(settings):
        if one.at > at:
            break
        new = math.inf if one.limit is None else one.limit
        # One that took no time to be set was there from the beginning.
        old = most if n else (new if one.effective <= one.at else math.inf)
        if at > one.effective + within:
            # Set anew, the same limit or a higher one, it leaves those that drain as they are.
            drains = max(0.0, drains + old - new) if math.isfinite(new) else 0.0
            since = one.effective + within if old > new else since
            most = new
        else:
            most = max(old, new)
    return most, drains, since


def out_of_order(story: Story, ahead: int) -> Verdict:
    """While a task waits, no more of lower priority start in its lane than may.

    That is: what workers had fetched, ``ahead`` in all (slots and prefetch, and again for each
    worker that was killed meanwhile), and one in sixteen. Looked at are first starts of first
    deliveries, of tasks without a key: others have waited for something else.
    """
    verdict = Verdict("priority")
    lanes: defaultdict[str, dict[int, list[Started]]] = defaultdict(lambda: defaultdict(list))
    for run in story.runs:
        lanes[run.start.lane][run.start.priority].append(run.start)
    kills = sorted(one.begin for blows in story.blows.values() for one in blows)
    for id, ready, start in _waits(story):
        verdict.looked_at += 1
        levels = lanes[start.lane]
        low = [_between(starts, ready, start.at) for p, starts in levels.items()
               if p < start.priority]  # fmt: skip
        all_ = sum(_between(starts, ready, start.at) for starts in levels.values())
        struck = bisect_right(kills, start.at) - bisect_left(kills, ready)
        allowed = ahead * (1 + struck) + math.ceil(all_ / 15) + 1
        if sum(low) > allowed:
            verdict.blame(
                f"{id} waited {start.at - ready:.3f} s while {sum(low)} of lower priority "
                f"started, {allowed} are allowed",
                start,
            )
    return verdict


def _waits(story: Story) -> Iterator[tuple[str, float, Started]]:
    """Tasks that were ready at a known time and have started: id, when, first start."""
    for id, runs in story.by_task.items():
        submits = [one for one in story.submits.get(id, ()) if one.answer == "ok"]
        first = runs[0].start
        final = story.finals.get(id)
        if final is not None and any(one.token < first.token for one in final.history):
            continue  # it had been fetched, perhaps by a worker that then died
        if len(submits) == 1 and first.priority > 0 and not first.key:
            ready = submits[0].ready + 0.25
            if ready < first.at:
                yield id, ready, first


def _between(starts: list[Started], begin: float, end: float) -> int:
    """How many start in between; they are in order of time."""
    left = bisect_right(starts, begin, key=lambda one: one.at)
    return bisect_left(starts, end, key=lambda one: one.at) - left
