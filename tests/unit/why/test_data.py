"""Reasons as data: codes, sentences, JSON; and the words that sentences are made of."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any, get_args

import msgspec
import pytest

from support.evidence import NOW, evidence, info
from xqueue_core.task import Failure, State
from xqueue_core.why import (
    AnyReason,
    Behind,
    Busy,
    CancelRequested,
    CannotTell,
    Due,
    Duplicate,
    Ended,
    Evidence,
    Expiring,
    Fault,
    Fetched,
    HandedBack,
    Holder,
    KeyLimit,
    LaneLimit,
    Lost,
    Moving,
    NoWorker,
    Overdue,
    Paused,
    Processing,
    Quarantined,
    Ready,
    Reason,
    Silent,
    Unknown,
    Why,
    explain,
)
from xqueue_core.why.words import failed, listed, many, moment, nearest, span

HOLDERS = (Holder(worker="w", permits=2, expires_in=3.0), Holder(worker="v", permits=1))

#: One of each kind, by its code, which never changes.
EACH: dict[str, Reason] = {
    "behind": Behind(lane="a", count=3),
    "cancel_requested": CancelRequested(worker="w"),
    "cannot_tell": CannotTell(what="order", why="no"),
    "due": Due(due_at=NOW, due_in=3.0),
    "duplicate": Duplicate(id="t:1", of="t:2"),
    "ended": Ended(state=State.FAILED, fault=Fault(reason="exception", type="E", traceback="T")),
    "expiring": Expiring(expires_at=NOW, expires_in=3.0),
    "fetched": Fetched(worker="w", holds=3, running=1, slots=1),
    "handed_back": HandedBack(reason="type", worker="w"),
    "key_limit": KeyLimit(lane="a", key="k", limit=1, used=3, holders=HOLDERS),
    "lane_limit": LaneLimit(lane="a", limit=3, used=3, holders=HOLDERS),
    "lane_paused": Paused(lane="a"),
    "moving": Moving(state=State.MOVING),
    "no_worker": NoWorker(cause="none", type="t", lane="a"),
    "overdue": Overdue(worker="w", timeout=1.0, over=2.0),
    "processing": Processing(worker="w", since_at=NOW, seconds=1.0, attempt=1),
    "quarantined": Quarantined(why="no"),
    "ready": Ready(workers=("w",), free=3),
    "slots_busy": Busy(slots=3, running=3, workers=("w",)),
    "unknown": Unknown(id="t:1", type="t"),
    "worker_lost": Lost(losses=1, most=3),
    "worker_silent": Silent(worker="w", seen_ago=None),
}


def test_there_is_one_of_each() -> None:
    assert {type(one) for one in EACH.values()} == set(get_args(AnyReason))
    assert {one.code: one for one in EACH.values()} == EACH


@pytest.mark.parametrize("code", EACH)
def test_a_reason_is_one_sentence_and_good_json(code: str) -> None:
    reason: Any = EACH[code]
    assert str(reason) == reason.text
    assert reason.text.endswith(".")
    assert not [bad for bad in ("  ", " ,", "None", "..", "\n", "{") if bad in reason.text]
    assert not reason.text[0].islower() or reason.text[:2] in ("t:", "w ")
    why = Why(id="t:1", state=State.PENDING, at=NOW, lane="a", reasons=[reason])
    plain = msgspec.to_builtins(why)
    assert plain["state"] == "pending"
    assert plain["reasons"][0]["code"] == code
    assert plain["reasons"][0]["text"] == reason.text
    assert json.loads(json.dumps(plain, allow_nan=False)) == json.loads(msgspec.json.encode(why))
    assert msgspec.convert(json.loads(msgspec.json.encode(why)), Why) == why


def test_a_why_reads_like_a_list() -> None:
    why = explain(evidence(info(), paused=True, workers=[]))
    assert (why.id, why.state, why.lane, why.at) == ("mail:1", State.PENDING, "mail", NOW)
    assert str(why) == why.text()
    assert why.text().splitlines() == [
        "mail:1 is pending.",
        "- The lane 'mail' is paused, so nothing of it starts: resume it.",
        "- No worker is registered: start one that declares 'mail', with the same broker and "
        "namespace.",
    ]
    assert explain(Evidence(id="t:1", at=0.0)).text().startswith("t:1 is not known.\n- No task")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1.0, "0 s"),
        (0.04, "0 s"),
        (0.44, "0.4 s"),
        (3.0, "3 s"),
        (9.96, "10 s"),
        (59.6, "1 min"),
        (185.0, "3 min 5 s"),
        (3600.0, "1 h"),
        (3720.0, "1 h 2 min"),
        (176_400.0, "2 d 1 h"),
        (86_401.0, "1 d"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert span(seconds) == text


def test_words() -> None:
    assert moment(1_764_410_280.0) == "2025-11-29 09:58:00 UTC"
    assert moment(1e20).endswith("s after 1970")
    assert (many(1, "slot"), many(0, "slot"), many(2, "slot")) == ("1 slot", "0 slots", "2 slots")
    assert listed("edcba") == "e, d, c, b, a"
    assert listed("gfedcba") == "g, f, e, d, c and 2 more"
    assert nearest("mail", ["MAIL", "mails", "mail", "other"]) == ["MAIL", "mails"]
    assert failed(None) == ""
    assert failed(Failure("exception", "builtins.E", "a\n b")) == "E: a b"
    assert failed(Failure("worker_lost")) == "worker_lost"
    assert len(failed(Failure("rejected", message="x" * 1000))) == 203


def test_whoever_asks_why_loads_no_settings_and_no_worker() -> None:
    code = (
        "import sys, xqueue_core.why; "
        "sys.exit(any(n.startswith(('pydantic', 'xqueue_core.worker')) for n in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
