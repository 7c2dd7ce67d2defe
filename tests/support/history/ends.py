"""Decisions about ends: lost, phantom, conserved."""

from __future__ import annotations

from support.history.events import FinalState, Ledger
from support.history.story import Story
from support.history.verdicts import Verdict

FINAL = frozenset({"success", "failed", "canceled", "timeout"})


def lost(story: Story) -> Verdict:
    """Every accepted task is found in a final state; an unknown one is, or is nowhere."""
    verdict = Verdict("lost")
    for id, submits in story.submits.items():
        sure = any(one.answer in ("ok", "duplicate") for one in submits)
        final = story.finals.get(id)
        verdict.looked_at += 1
        if final is None and sure:
            verdict.blame(f"{id} was accepted and is nowhere", *submits)
        elif final is not None and final.state not in FINAL:
            verdict.blame(f"{id} never ended: it is {final.state}", *submits, final)
    return verdict


def phantom(story: Story) -> Verdict:
    """Nothing runs or ends that was not submitted; no success that no run has returned."""
    verdict = Verdict("phantom", len(story.by_task) + len(story.finals))
    for id, runs in story.by_task.items():
        if not _submitted(story, id):
            verdict.blame(f"{id} runs and was never submitted", runs[0].start)
    for id, final in story.finals.items():
        if not _submitted(story, id):
            verdict.blame(f"{id} is known and was never submitted", final)
        elif final.state == "success":
            _earned(story, verdict, final)
    return verdict


def _submitted(story: Story, id: str) -> bool:
    return any(one.answer != "refused" for one in story.submits.get(id, ()))


def _earned(story: Story, verdict: Verdict, final: FinalState) -> None:
    returned = {
        run.start.token
        for run in story.by_task.get(final.id, ())
        if run.end is not None and run.end.how == "returned"
    }
    said = [one.token for one in final.history if one.how == "success"]
    if not returned:
        verdict.blame(f"{final.id} is a success, and no run of it returned", final)
    elif any(token not in returned for token in said):
        verdict.blame(f"{final.id}: the delivery recorded as its success did not return", final)
    elif len(said) > 1 + len(story.replays[final.id]):
        verdict.blame(f"{final.id} has succeeded {len(said)} times", final)


def conserved(story: Story) -> Verdict:
    """The system's count balances, and agrees with what was submitted and what is found."""
    verdict = Verdict("conserved")
    ledgers = [event for event in story.events if isinstance(event, Ledger)]
    if not ledgers:
        verdict.blame("no ledger was read")
        return verdict
    ledger = ledgers[-1]
    verdict.looked_at = ledger.accepted
    into = ledger.accepted + ledger.replayed + ledger.moved_in
    if into != ledger.live + ledger.final + ledger.moved_out:
        verdict.blame("the ledger does not balance", ledger)
    sure = sum(any(s.answer == "ok" for s in one) for one in story.submits.values())
    maybe = sum(any(s.answer != "refused" for s in one) for one in story.submits.values())
    if not sure <= ledger.accepted <= maybe:
        verdict.blame(
            f"{ledger.accepted} are said to be accepted, it must be {sure} to {maybe}", ledger
        )
    live = sum(one.state not in FINAL for one in story.finals.values())
    if live != ledger.live:
        verdict.blame(f"{ledger.live} are said to live, {live} were found", ledger)
    ended = len(story.finals) - live + ledger.replayed
    if ended != ledger.final:
        verdict.blame(f"{ledger.final} are said to have ended, {ended} were found", ledger)
    return verdict
