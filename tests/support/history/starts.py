"""Decisions about starts: doubled, early, and never after a cancel."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise

from support.history.events import (
    AnyEvent,
    CancelAnswered,
    GivenUp,
    HandedBack,
    Killed,
    LanePaused,
    LaneResumed,
)
from support.history.story import Blow, Run, Story
from support.history.verdicts import Verdict

#: Code that a worker gives up as it ends is handed back with the last words, and runs on until the
#: process is gone: 2.5 s to settle, 2.5 s for the last heartbeat (xqueue_core.worker.ending.WORD;
#: the app's lifespan is not left then), and 3 s for the process to end (seconds).
LETS_GO = 8.0


def doubled(story: Story) -> Verdict:
    """No attempt starts twice unless the first one's worker was struck or handed it back.

    Nor does anything start beside a run of the same task, or after its final state was seen.
    What explains a second start is the harness's log or a hand-back line, never the system.
    """
    verdict = Verdict("doubled", len(story.runs))
    for runs in story.by_task.values():
        eras: defaultdict[int, list[Run]] = defaultdict(list)
        for run in runs:
            eras[story.era(run.id, run.start.at)].append(run)
        for era in eras.values():
            ordered = sorted(era, key=lambda run: (run.start.token, run.start.at))
            for first, second in pairwise(ordered):
                _pair(story, verdict, first, second)
        for run in runs:
            _after_the_end(story, verdict, run)
    return verdict


def _pair(story: Story, verdict: Verdict, first: Run, second: Run) -> None:
    again = first.start.attempt == second.start.attempt
    beside = first.until > second.start.at + story.terms.tolerance
    if not again and not beside:
        return
    what = (
        f"{first.id} attempt {first.start.attempt} started again"
        if again
        else f"{first.id} attempt {second.start.attempt} started beside another"
    )
    if first.start.token == second.start.token:
        verdict.blame(f"{what} under the same token", first.start, second.start)
        return
    reason = explanation(story, first, second)
    if reason is not None:
        verdict.excuse(what, first.start, reason, second.start)
        return
    lie = story.handed_back.get((first.id, first.start.token))
    evidence: list[AnyEvent] = [first.start, *([lie] if lie else []), second.start]
    verdict.blame(what, *evidence)


def explanation(story: Story, first: Run, second: Run) -> AnyEvent | None:
    """What gives ``second``, of the later token, the right to start."""
    line = story.handed_back.get((first.id, first.start.token))
    if line is not None and _honest(story, line, first) and line.at <= second.start.at:
        return line
    given_up = story.given_up.get((first.id, first.start.token))
    if given_up is not None and given_up.at <= second.start.at and _lets_go(story, given_up, first):
        return given_up
    asleep = story.sleepwalk(first)
    if first.start.at > second.start.at:
        # The earlier token starts later: only code that slept over its own loss does that.
        return asleep.event if asleep is not None and asleep.due <= second.start.at else None
    if asleep is not None and _dies(story, asleep, first, second):
        return asleep.event
    for blow in story.blows.get(first.worker, ()):
        dead = blow.event.at if isinstance(blow.event, Killed) else blow.end
        meant = first.start.at <= dead and blow.due <= second.start.at
        if meant and _cost(story, blow, first, second):
            return blow.event
    return None


def _cost(story: Story, blow: Blow, first: Run, second: Run) -> bool:
    """True if the blow may have cost its worker the delivery, before the second start.

    What survives a blow has lost its tasks soon after its end, or keeps them. They may wait long
    until they start again: then the loss was seen at that time.
    """
    return not _settled_before(story, first, blow.begin) and _dies(story, blow, first, second)


def _dies(story: Story, blow: Blow, first: Run, second: Run) -> bool:
    seen = story.losses.get((first.id, first.worker), ())
    return any(story.dying(blow, at) for at in (second.start.at, *seen))


def _honest(story: Story, line: HandedBack, run: Run) -> bool:
    """A hand-back of running work says so; one of unstarted work explains no start before it."""
    return line.ran and line.at >= run.start.at and _lets_go(story, line, run)


def _lets_go(story: Story, line: HandedBack | GivenUp, run: Run) -> bool:
    """Nor does the work run on for long (see :data:`LETS_GO`), or its worker: it ends, too.

    The line is the worker's own word, the other is told by what it does from then on: it starts
    nothing more, and soon no longer renews.
    """
    limit = story.out_until(line.at, run.worker, LETS_GO) + LETS_GO
    started, renewed = story.lasted.get(run.worker, (0.0, 0.0))
    lives = started > line.at + story.terms.waking or renewed > limit
    return not lives and (run.end is None or run.end.at <= limit)


def _settled_before(story: Story, run: Run, at: float) -> bool:
    """True if its outcome was recorded long before, so that nothing was left to lose.

    It was not if the broker went away just after the run's end: then it was on its way.
    """
    if run.end is None:
        return False
    within = story.terms.settled_within
    return story.out_until(run.end.at, run.worker, within) + within < at


def _after_the_end(story: Story, verdict: Verdict, run: Run) -> None:
    for seen in story.recorded.get(run.id, ()):
        same_life = story.era(run.id, seen.at) == story.era(run.id, run.start.at)
        if not same_life or run.start.at <= seen.at:
            continue
        blow = story.sleepwalk(run)
        what = f"{run.id} started after it was seen as {seen.state}"
        if blow is None:
            verdict.blame(what, seen, run.start)
        else:
            verdict.excuse(what, blow.event, seen, run.start)


def early(story: Story) -> Verdict:
    """Nothing starts before its due time, nor before it was submitted."""
    verdict = Verdict("early", len(story.runs))
    for run in story.runs:
        submits = story.submits.get(run.id)
        if not submits:
            continue  # a phantom: somebody else's decision
        first = min(submits, key=lambda one: one.due)
        if run.start.at < first.due - story.terms.tolerance:
            ahead = first.due - run.start.at
            verdict.blame(f"{run.id} started {ahead:.3f} s early", first, run.start)
    return verdict


def paused(story: Story) -> Verdict:
    """Nothing starts in a paused lane once its worker had time to be told, until it is resumed."""
    verdict = Verdict("paused")
    lanes: defaultdict[str, list[LanePaused | LaneResumed]] = defaultdict(list)
    for event in story.events:
        if isinstance(event, LanePaused | LaneResumed):
            lanes[event.lane].append(event)
    for run in story.runs:
        before = [one for one in lanes.get(run.start.lane, ()) if one.at <= run.start.at]
        if not before or not isinstance(before[-1], LanePaused):
            continue
        # Of pauses without a resume between them, the first counts.
        resumed = [n for n, one in enumerate(before) if isinstance(one, LaneResumed)]
        pause = before[resumed[-1] + 1 if resumed else 0]
        verdict.looked_at += 1
        within = story.terms.paused_within
        told = story.out_until(pause.at, run.worker, within) + within
        if run.start.at <= told + story.terms.tolerance:
            continue
        what = f"{run.id} started {run.start.at - pause.at:.3f} s after its lane was paused"
        blow = story.sleepwalk(run)
        if blow is None:
            verdict.blame(what, pause, run.start)
        else:
            verdict.excuse(what, pause, blow.event, run.start)
    return verdict


def cancels(story: Story) -> Verdict:
    """What was canceled before it started never starts; what runs is told in time."""
    verdict = Verdict("cancel")
    for id, answers in story.cancels.items():
        for answer in answers:
            if answer.did not in ("applied", "requested") or _overtaken(story, answer):
                continue
            verdict.looked_at += 1
            for run in story.by_task.get(id, ()):
                if story.era(id, run.start.at) == story.era(id, answer.at):
                    _canceled(story, verdict, answer, run)
    return verdict


def _overtaken(story: Story, answer: CancelAnswered) -> bool:
    """True if a replay was applied between its question and its answer: which was first?"""
    asked = [one.at for one in story.asks.get(answer.id, ()) if one.at <= answer.at]
    return bool(asked) and story.era(answer.id, asked[-1]) != story.era(answer.id, answer.at)


def _canceled(story: Story, verdict: Verdict, answer: CancelAnswered, run: Run) -> None:
    terms = story.terms
    # A delivery that its worker has not begun yet counts as running until the worker is told.
    within = terms.told_within if answer.did == "requested" else 0.0
    limit = story.out_until(answer.at, run.worker, within) + within + terms.tolerance
    if run.start.at > limit:
        blow = story.sleepwalk(run)
        what = f"{run.id} started {run.start.at - answer.at:.3f} s after its cancel"
        if blow is None:
            verdict.blame(what, answer, run.start)
        else:
            verdict.excuse(what, answer, blow.event, run.start)
    elif run.until > answer.at + terms.tolerance:
        _running(story, verdict, answer, run)


def _running(story: Story, verdict: Verdict, answer: CancelAnswered, run: Run) -> None:
    """The cancel was answered while this ran."""
    asked = max(answer.at, run.start.at)
    within = story.terms.told_within
    deadline = story.out_until(asked, run.worker, within) + within + story.terms.tolerance
    if any(
        # What a blow has cost a worker it learns within a lease of its end, and no later.
        one.due <= deadline and asked <= one.end + story.terms.lease + story.terms.waking
        for one in story.blows.get(run.worker, ())
    ):
        return
    if answer.did == "applied":
        line = story.handed_back.get((run.id, run.start.token))
        if line is None or line.at > answer.at:
            verdict.blame(f"{run.id} ran, and was said not to have started", run.start, answer)
    elif min(run.told.at if run.told is not None else run.until, run.until) > deadline:
        verdict.blame(f"{run.id} ran on, not told of its cancel in time", run.start, answer)
