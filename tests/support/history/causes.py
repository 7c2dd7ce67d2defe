"""Decisions about causes: what ended otherwise than in success was led there by something."""

from __future__ import annotations

from support.history.events import CancelAsked, FinalState, Recorded, Submitted
from support.history.story import Run, Story
from support.history.verdicts import Verdict

#: Failures that need no run of the handler: its arguments could not be made.
UNRUN = frozenset({"payload"})
#: Failures that may come before the last attempt.
AT_ONCE = frozenset({"rejected", "result", "payload"})


def caused(story: Story) -> Verdict:
    """Failed is what raised, canceled what somebody asked for, timeout what has such an option.

    What was seen to have ended is found in the same state. ``worker_lost`` and success are
    decided elsewhere.
    """
    verdict = Verdict("cause")
    asked = {one.id for one in story.events if isinstance(one, CancelAsked)}
    for id, final in story.finals.items():
        submits = [one for one in story.submits.get(id, ()) if one.answer != "refused"]
        if not submits:
            continue  # a phantom: somebody else's decision
        verdict.looked_at += 1
        if final.state == "failed" and final.reason != "worker_lost":
            _failed(story, verdict, final, submits[0])
        elif final.state == "canceled" and id not in asked:
            verdict.blame(f"{id} is canceled, and nobody asked for it", final)
        elif final.state == "timeout":
            _timed_out(story, verdict, final, submits[0])
        _seen(story, verdict, final)
    return verdict


def _deciding(story: Story, final: FinalState) -> list[Run]:
    """The run whose outcome this state is; all of them where the history does not tell."""
    tokens = [one.token for one in final.history if one.how == final.state]
    runs = story.by_task.get(final.id, [])
    return [run for run in runs if run.start.token == tokens[-1]] if tokens else runs


def _failed(story: Story, verdict: Verdict, final: FinalState, asked: Submitted) -> None:
    how = "returned" if final.reason == "result" else "raised"
    ends = {run.end.how for run in _deciding(story, final) if run.end is not None}
    if how not in ends and final.reason not in UNRUN:
        verdict.blame(f"{final.id} has failed, and the run that decided it has not {how}", final)
        return
    left = asked.retries is not None and final.attempt <= asked.retries
    if left and final.reason not in AT_ONCE:
        verdict.blame(f"{final.id} has failed with retries left", asked, final)


def _timed_out(story: Story, verdict: Verdict, final: FinalState, asked: Submitted) -> None:
    options = {"queue_timeout": asked.queue_timeout, "process_timeout": asked.process_timeout}
    seconds = options.get(final.reason)
    if seconds is None:
        verdict.blame(f"{final.id} is a {final.reason or 'timeout'} without the option", final)
    elif final.reason == "process_timeout":
        for run in _deciding(story, final):
            took = run.until - run.start.at
            if final.history and took < seconds - story.terms.tolerance:
                verdict.blame(f"{final.id} ran {took:.3f} s, {seconds} are allowed", final)


def _seen(story: Story, verdict: Verdict, final: FinalState) -> None:
    era = len(story.replays[final.id])
    seen: list[Recorded] = story.recorded.get(final.id, [])
    for one in seen:
        if story.era(final.id, one.at) == era and one.state != final.state:
            verdict.blame(f"{final.id} was seen as {one.state}, and is {final.state}", one, final)
