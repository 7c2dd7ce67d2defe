"""What a kill run says in the end."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from soak.app import heartbeat
from soak.brokers import Served
from soak.recovery import DETECTION, Blown, blown, late, silences, summary
from soak.resuming import WITHIN, Resumption, found_no_broker, resumptions
from support.history.checker import Report, Terms, check, tell
from support.history.ends import FINAL
from support.history.events import FinalState, Stopped
from support.history.story import Story
from support.history.writer import read

if TYPE_CHECKING:
    from soak.fleet import Fleet, Place
    from soak.kills import Plan
    from soak.stream import Stream

#: A kill strikes at least so many running tasks.
BUSY = 10
#: Of the run's time, how much may pass without a renewal by anybody, beside the broker's outages
#: and a lease: machines stand still now and then.
SILENT = 0.02


@dataclass(slots=True, frozen=True)
class End:
    """How a run ended: drained or not, the workers' exit codes, children that outlived them."""

    whole: bool
    codes: list[int]
    orphans: list[int]


@dataclass(slots=True)
class Outcome:
    """The figures and verdicts of a run."""

    figures: dict[str, Any]
    recovery: dict[str, Any]
    report: Report
    complaints: list[str]

    @property
    def ok(self) -> bool:
        """True if nothing is broken and the run was what it should be."""
        return self.report.ok and not self.complaints

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "ok": self.ok,
            "figures": self.figures,
            "recovery": self.recovery,
            "complaints": self.complaints,
            "verdicts": self.report.as_json(),
        }

    def __str__(self) -> str:
        lines = [f"{name:<28} {_text(value)}" for name, value in self.figures.items()]
        lines.append("recovery after a SIGKILL (seconds)")
        lines += [f"    {name:<38} {_text(value)}" for name, value in self.recovery.items()]
        lines += ["", str(self.report)]
        gone = self.report["worker_lost"].excused
        lines += [f"    given up: {one.what}" for one in gone]
        lines += [f"BROKEN {one}" for one in self.complaints]
        lines.append("nothing is broken" if self.ok else "SOMETHING IS BROKEN")
        return "\n".join(lines)


def _text(value: Any) -> str:
    return json.dumps(value) if isinstance(value, dict) else str(value)


def judge(plan: Plan, place: Place, fleet: Fleet, stream: Stream, end: End) -> Outcome:
    """Read the history and decide."""
    terms = Terms(plan.lease, plan.heartbeat, tolerance=0.05)
    events = read(place.history)
    story = tell(events, terms)
    kills = blown(story)
    complaints = []
    if not end.whole:
        complaints.append("something still lived at the end")
    unasked = [one.code for one in fleet.unasked if not found_no_broker(story, one)]
    if unasked or any(end.codes):
        complaints.append(f"workers ended by themselves: {unasked}, or badly: {end.codes}")
    if end.orphans:
        complaints.append(f"isolated children outlived their workers: {end.orphans}")
    if len(kills) < plan.kills:
        complaints.append(f"only {len(kills)} of {plan.kills} kills were made")
    idle = sum(one.running < BUSY for one in kills)
    if idle:
        complaints.append(f"{idle} kills struck fewer than {BUSY} running tasks")
    stops = sum(isinstance(one, Stopped) for one in events)
    if stops < plan.stops:
        complaints.append(f"only {stops} of {plan.stops} stops were made")
    complaints += _of_broker(plan, place)
    away = story.cuts[""]
    silent = sum(
        end - begin
        for begin, end in silences(story)
        if not any(begin < until and since < end for since, until, _ in away)
    )
    if silent > plan.lease + plan.seconds * SILENT:
        complaints.append(f"nobody renewed in {silent:.1f} s of {plan.seconds:g} s")
    recovery = summary(kills, plan.lease + DETECTION)
    complaints += late(recovery)
    resumed = resumptions(story)
    complaints += [str(one) for one in resumed if one.delay > WITHIN]
    if len(resumed) < plan.broker_kills + plan.broker_stops:
        complaints.append(f"only {len(resumed)} times a worker was seen to resume")
    return Outcome(
        _figures(plan, story, fleet, stream, kills) | _resumed(resumed),
        recovery,
        check(events, terms, ahead=plan.ahead),
        complaints,
    )


def _of_broker(plan: Plan, place: Place) -> list[str]:
    """What was not done to the broker, in words."""
    done = place.broker
    kills, stops = (done.kills, done.stops) if isinstance(done, Served) else (0, 0)
    if (kills, stops) == (plan.broker_kills, plan.broker_stops):
        return []
    return [f"the broker was killed {kills} times and stopped {stops} times, not as planned"]


def _resumed(resumed: list[Resumption]) -> dict[str, Any]:
    if not resumed:
        return {}
    delays = sorted(one.delay for one in resumed)
    text = f"{len(delays)}, after up to {delays[-1]:.3f} s (median {median(delays):.3f} s)"
    return {"resumptions of workers": text}


def _figures(
    plan: Plan, story: Story, fleet: Fleet, stream: Stream, kills: list[Blown]
) -> dict[str, Any]:
    states = Counter(
        f"{one.state}/{one.reason}" if one.state == "failed" else one.state
        for one in story.events
        if isinstance(one, FinalState)
    )
    busy = sorted(one.running for one in kills)
    quiet = silences(story)
    stops = [one for one in story.events if isinstance(one, Stopped)]
    return {
        "plan": asdict(plan),
        "heartbeat": heartbeat(plan.lease),
        "submitted": dict(Counter(stream.ids.values())),
        "ended": sum(n for name, n in states.items() if name.partition("/")[0] in FINAL),
        "states": dict(states),
        "starts": len(story.runs),
        "worker processes": fleet.spawned,
        "that found no broker": sum(found_no_broker(story, one) for one in fleet.unasked),
        "kills": len(kills),
        "runs cut off by a kill": f"{busy[0]} to {busy[-1]}" if busy else "none",
        "kills of 10 runs or more": sum(one >= 10 for one in busy),
        "stops": len(stops),
        "outages of the broker": len(story.cuts[""]),
        "times that nobody renewed": len(quiet),
        "the longest (seconds)": round(max((end - begin for begin, end in quiet), default=0.0), 3),
    }
