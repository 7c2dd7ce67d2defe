"""`xqueue task why` names the commands that would help."""

from __future__ import annotations

import shlex

import pytest

from support.cli import Place, data, lines, run
from xqueue_core.cli.remedies import remedies
from xqueue_core.task import State
from xqueue_core.why import (
    AnyReason,
    Behind,
    Busy,
    Due,
    Ended,
    KeyLimit,
    LaneLimit,
    NoWorker,
    Overdue,
    Quarantined,
    Why,
)

NOBODY = NoWorker(cause="none", type="mail", lane="mail")
QUIET = NoWorker(cause="quiet", type="mail", lane="mail", workers=("w~1", "w~2"))
MOVED = NoWorker(cause="lane", type="mail", lane="old", type_served=True)


@pytest.mark.parametrize(
    ("reason", "commands"),
    [
        (LaneLimit(lane="mail", limit=3, used=3), ["lanes limit mail N"]),
        (LaneLimit(lane="mail", limit=3, used=3, pinned=True), ["lanes limit mail none"]),
        (KeyLimit(lane="mail", key="a b"), ["lanes limit mail N --key 'a b'"]),
        (KeyLimit(lane="mail", key="a", pinned=True), ["lanes limit mail none --key a"]),
        (NOBODY, ["worker APP"]),
        (QUIET, ["workers quiet --off 'w~1' 'w~2'", "worker APP"]),
        (MOVED, ["worker APP --lanes old"]),
        (Busy(slots=5, running=5, workers=("w~1",)), ["worker APP"]),
        (Quarantined(), ["purge mail:1"]),
        (Overdue(worker="w~1", timeout=5.0, over=9.0), ["task cancel mail:1"]),
        (Overdue(worker="w~1", timeout=5.0, over=9.0, stuck=True), []),
        (Ended(state=State.FAILED), ["task replay mail:1"]),
        (Ended(state=State.CANCELED, reason="purged"), ["purge mail:1", "task replay mail:1"]),
        (Ended(state=State.SUCCESS), []),
        (Behind(lane="mail", count=2), []),
        (Due(due_at=9.0, due_in=5.0), []),
    ],
)
def test_what_helps(reason: AnyReason, commands: list[str]) -> None:
    why = Why(id="mail:1", state=State.PENDING, at=1.0, reasons=[reason])
    expected = [[f"xqueue {one}" for one in commands]]
    assert remedies(why, None, False, None) == expected


def test_what_was_said_of_app_and_broker_is_said_again() -> None:
    ended = Ended(state=State.FAILED)
    why = Why(id="mail:1", state=State.PENDING, at=1.0, reasons=[NOBODY, ended])
    assert remedies(why, "jobs.py", True, "sqlite:///a b.db") == [
        ["xqueue worker jobs.py --url 'sqlite:///a b.db'"],
        ["xqueue task replay mail:1 --app jobs.py --url 'sqlite:///a b.db'"],
    ]
    assert remedies(why, "jobs.py", False, None)[0] == ["xqueue worker jobs.py"]


def test_the_commands_can_be_typed_as_they_stand(place: Place) -> None:
    id = place.submit("greet", name="you")
    run("lanes", "pause", "greet")
    first, *rest = lines("task", "why", id, "--app", "jobs.py")
    assert first == f"{id} is pending."
    assert "    xqueue lanes resume greet --app jobs.py" in rest
    assert "    xqueue worker jobs.py" in rest
    told = data("task", "why", id, "--url", place.url)
    [paused] = [one for one in told["reasons"] if one["code"] == "lane_paused"]
    assert paused["commands"] == [f"xqueue lanes resume greet --url {place.url}"]
    assert "resume it" in paused["text"]
    run(*shlex.split(paused["commands"][0])[1:])
    assert "lane_paused" not in [one["code"] for one in data("task", "why", id)["reasons"]]


def test_a_password_is_not_repeated(place: Place) -> None:
    place.submit("greet", name="you")
    from xqueue_core.cli.caller import Caller

    assert Caller(None, "redis://me:hush@there", False).named() == (None, False, None)
