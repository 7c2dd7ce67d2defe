"""Decisions about what follows an attempt: the next one, after its delay, or nothing."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise

from support.history.events import Ended, Killed
from support.history.starts import explanation
from support.history.story import Run, Story
from support.history.verdicts import Verdict


def attempts(story: Story) -> Verdict:
    """Attempts count one by one; a retry waits as asked; what has returned is not run again.

    Unless what it returned was lost with its worker, or was handed back, or came too late.
    Nor is anything charged for work that is handed back and never began.
    """
    verdict = Verdict("attempts")
    _unbegun(story, verdict)
    for id, runs in story.by_task.items():
        eras: defaultdict[int, list[Run]] = defaultdict(list)
        for run in runs:
            eras[story.era(id, run.start.at)].append(run)
        for number, era in eras.items():
            verdict.looked_at += len(era)
            ordered = sorted(era, key=lambda run: (run.start.token, run.start.at))
            first = ordered[0]
            if number == 0 and first.start.attempt > 1 + _charged(story, None, first):
                verdict.blame(f"{id} begins with attempt {first.start.attempt}", first.start)
            for one, after in pairwise(ordered):
                _follows(story, verdict, one, after)
    return verdict


def _unbegun(story: Story, verdict: Verdict) -> None:
    """Hand-backs of running work without a run; one whose worker was killed may miss its line."""
    begun = {(run.id, run.start.token) for run in story.runs}
    for line in (one for lines in story.lines.values() for one in lines):
        if not line.ran or (line.id, line.token) in begun:
            continue
        what = f"{line.id} was handed back as running, and had not started"
        worker = line.worker or story.worker_of(line.pid, line.at)
        kills = [one for one in story.blows.get(worker, ()) if isinstance(one.event, Killed)]
        if any(abs(one.begin - line.at) <= story.terms.behind for one in kills):
            verdict.excuse(what, line, kills[0].event)
        else:
            verdict.blame(what, line)


def _charged(story: Story, first: Run | None, second: Run) -> int:
    """Hand-backs of work that had begun, between two runs: each was an attempt, seen or not."""
    begin = first.start.token if first is not None else -1
    return sum(
        line.ran and line.id == second.id and begin <= line.token < second.start.token
        for line in story.lines[second.id]
    )


def _follows(story: Story, verdict: Verdict, first: Run, second: Run) -> None:
    step = second.start.attempt - first.start.attempt
    charged = _charged(story, first, second)
    if not 0 <= step <= 1 + charged:
        what = f"{first.id} attempt {second.start.attempt} follows {first.start.attempt}"
        verdict.blame(what, first.start, second.start)
    if not step or first.end is None:
        return  # the same attempt again is a matter of ``doubled``
    if first.end.how == "returned":
        _again(story, verdict, first, second)
    elif first.end.wait and not charged:
        _waits(story, verdict, first.end, second)


def _waits(story: Story, verdict: Verdict, end: Ended, second: Run) -> None:
    if second.start.at < end.at + end.wait - story.terms.tolerance:
        waited = second.start.at - end.at
        what = f"{second.id} was retried after {waited:.3f} s, {end.wait} were asked for"
        verdict.blame(what, end, second.start)


def _again(story: Story, verdict: Verdict, first: Run, second: Run) -> None:
    assert first.end is not None
    what = f"{first.id} attempt {first.start.attempt} returned, and the next one started"
    reason = explanation(story, first, second)
    limits = [one.process_timeout for one in story.submits.get(first.id, ())]
    took = first.end.at - first.start.at + story.terms.tolerance
    if reason is not None:
        verdict.excuse(what, first.end, reason, second.start)
    elif any(limit is not None and took >= limit for limit in limits):
        verdict.excuse(f"{what}: it had run too long", first.end, second.start)
    else:
        verdict.blame(what, first.start, first.end, second.start)
