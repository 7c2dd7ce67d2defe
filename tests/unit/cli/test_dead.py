"""`xqueue dead` and `xqueue purge`: many tasks at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from support.cli import Place, data, lines, refused, run
from support.spoiled import spoil
from xqueue_core.calls import AnyCommand, Verdict
from xqueue_core.cli.picking import Pick
from xqueue_core.errors import Unknown
from xqueue_core.stored.queue import StoredQueue
from xqueue_core.task import Failure, State
from xqueue_core.views import Filter, TaskInfo


def filled(place: Place) -> dict[str, list[str]]:
    """A database with failed, successful and waiting tasks, by name."""
    ids = {
        "one": [place.submit("broken", text="disk full")],
        "two": [place.submit("broken", text="no such user") for _ in range(2)],
        "fine": [place.submit("greet", name="you")],
    }
    place.work()
    ids["waits"] = [place.submit("greet", name="later", options={"delay": 600})]
    return ids


def states() -> dict[str, str]:
    return {one["id"]: one["state"] for one in data("task", "list")["tasks"]}


def test_list(place: Place) -> None:
    ids = filled(place)
    found = data("dead", "list")
    assert set(found) == {"tasks", "next", "quarantined"}
    assert {one["id"] for one in found["tasks"]} == {*ids["one"], *ids["two"]}
    assert (found["next"], found["quarantined"]) == (None, 0)
    one = found["tasks"][0]
    assert one["reason"].startswith("ValueError: ")
    disk = data("dead", "list", "--error", "DISK")["tasks"]
    assert [one["id"] for one in disk] == ids["one"]
    assert data("dead", "list", "--type", "greet")["tasks"] == []
    assert data("dead", "list", "--older-than", "1h")["tasks"] == []
    answer = run("dead", "list", "--limit", "2")
    assert len(answer.stdout.splitlines()) == 3
    cursor = answer.stderr.split()[-1]
    assert len(lines("dead", "list", "--after", cursor)) == 2


def test_what_cannot_be_decoded_is_listed_by_itself(place: Place) -> None:
    ids = filled(place)
    waits = place.submit("broken")
    spoil(place.file, waits)
    assert place.lease("broken") == []  # it goes into quarantine
    answer = run("dead", "list")
    assert "In quarantine: 1; see --state quarantined" in answer.stderr
    found = data("dead", "list", "--state", "quarantined")
    assert [(one["id"], one["quarantined"]) for one in found["tasks"]] == [(waits, True)]
    assert lines("task", "show", waits)[1].split()[:2] == ["state", "quarantined:"]
    assert data("dead", "list")["quarantined"] == 1
    assert len(data("dead", "list")["tasks"]) == len(ids["one"] + ids["two"])
    assert data("purge", "--state", "pending", "--yes")["matched"] == 0  # nor by another's state
    assert lines("purge", "--state", "quarantined", "--dry-run") == ["1 task would be purged"]
    assert data("purge", "--state", "quarantined", "--yes")["purged"] == 1
    assert data("dead", "list", "--state", "quarantined")["tasks"] == []


def test_what_cannot_be_decoded_is_purged_before_a_worker_meets_it(place: Place) -> None:
    ids = [place.submit("broken") for _ in range(2)]
    for id in ids:
        spoil(place.file, id)
    assert lines("purge", ids[0], "--yes") == ["purged 1 task"]
    assert lines("purge", "--state", "quarantined", "--yes") == ["purged 1 task"]
    assert states() == {}


def test_what_cannot_be_decoded_is_purged_by_its_id(place: Place) -> None:
    waits = place.submit("broken")
    spoil(place.file, waits)
    assert place.lease("broken") == []
    assert data("purge", waits, "--yes")["purged"] == 1
    assert data("task", "list")["tasks"] == []


def test_replay_counts_in_a_dry_run(place: Place) -> None:
    ids = filled(place)
    before = states()
    assert lines("dead", "replay", "--dry-run") == ["3 tasks would be replayed"]
    found = data("dead", "replay", "--dry-run", "--error", "disk")
    assert found == {
        "matched": 1,
        "replayed": 0,
        "left": 0,
        "dry_run": True,
        "verdicts": {},
        "not_done": [],
    }
    assert states() == before
    assert before[ids["one"][0]] == "failed"


def test_replay_asks_before(place: Place) -> None:
    ids = filled(place)
    answer = run("dead", "replay", "--error", "user", input="n\n", code=1)
    assert "Replay 2 tasks? [y/N]" in answer.stderr
    assert set(states().values()) >= {"failed"}
    assert "pending" not in states().values()
    run("dead", "replay", input="", code=1)  # nobody answers
    assert "pending" not in states().values()
    answer = run("dead", "replay", "--error", "user", input="y\n")
    assert "replayed 2 tasks" in answer.stdout
    assert {states()[id] for id in ids["two"]} == {"pending"}
    assert states()[ids["one"][0]] == "failed"


def test_replay_of_all_with_a_delay(place: Place) -> None:
    ids = filled(place)
    found = data("dead", "replay", "--yes", "--delay", "1h")
    assert (found["matched"], found["replayed"], found["not_done"]) == (3, 3, [])
    assert found["verdicts"] == {"applied": 3}
    assert {states()[id] for id in (*ids["one"], *ids["two"])} == {"scheduled"}
    assert lines("dead", "replay", "--yes") == ["replayed 0 tasks"]


def test_replay_names_what_could_not_be_replayed(place: Place) -> None:
    place.submit("broken", options={"unique_key": "k"})
    place.work()
    other = place.submit("broken", options={"unique_key": "k"})
    answer = run("dead", "replay", "--yes", code=1)
    assert "replayed 0 tasks" in answer.stdout
    [line] = answer.stderr.splitlines()
    assert line.startswith("Error: could not replay 1 task: broken:k")
    assert line.endswith("(duplicate)")
    assert states()[other] == "pending"


def test_what_happens_while_it_asks_is_respected(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody else replays the task before the answer, and it succeeds or waits."""
    id = place.submit("broken", text="x")
    place.work()

    def other(*_: object, **__: object) -> bool:
        data("task", "replay", id)
        return True

    monkeypatch.setattr("click.confirm", other)
    answer = run("dead", "replay")
    assert "replayed 0 tasks\nleft 1 task that had changed meanwhile" in answer.stdout
    assert states()[id] == "pending"
    place.work()
    assert states()[id] == "failed"
    answer = run("purge", "--state", "failed")
    assert "purged 0 tasks\nleft 1 task that had changed meanwhile" in answer.stdout
    assert states()[id] == "pending"


def test_a_dry_run_looks_for_what_is_named(place: Place) -> None:
    [id, *_] = filled(place)["two"]
    answer = run("purge", id, "greet:x", "--dry-run", code=1)
    assert "1 task would be purged" in answer.stdout
    assert "could not purge 1 task: greet:x (unknown)" in answer.stderr


def test_purge_by_filter_and_by_id(place: Place) -> None:
    ids = filled(place)
    assert lines("purge", "--state", "failed", "--dry-run") == ["3 tasks would be purged"]
    assert data("purge", "--error", "disk", "--yes")["purged"] == 1
    assert set(states()) == {*ids["two"], *ids["fine"], *ids["waits"]}
    run("purge", "--type", "greet", "--yes")  # of those that have ended
    assert set(states()) == {*ids["two"], *ids["waits"]}
    answer = run("purge", *ids["two"], input="y\n")
    assert "Purge 2 tasks?" in answer.stderr
    run("purge", "--state", "scheduled", "--yes")
    assert states() == {ids["waits"][0]: "canceled"}
    assert data("task", "show", ids["waits"][0])["reason"] == "purged"


@pytest.fixture
def lossy(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Loses the reply to the next commands, which are carried out."""
    lost: list[bool] = []
    real = StoredQueue.control

    async def control(self: StoredQueue, commands: Sequence[AnyCommand]) -> Sequence[Verdict]:
        answers = await real(self, commands)
        if lost:
            lost.clear()
            raise Unknown("the reply was lost")
        return answers

    monkeypatch.setattr(StoredQueue, "control", control)
    return lambda: lost.append(True)


def test_a_purge_whose_reply_got_lost_says_what_it_did(
    place: Place, lossy: Callable[[], None]
) -> None:
    ids = filled(place)
    lossy()
    assert lines("purge", ids["one"][0], "--yes") == ["purged 1 task"]
    lossy()
    assert lines("purge", "--state", "failed", "--yes") == ["purged 2 tasks"]
    lossy()
    told = "canceled 1 task; purge again to forget it"
    assert lines("purge", "--state", "scheduled", "--yes") == [told]
    waits = place.submit("broken")
    spoil(place.file, waits)
    assert place.lease("broken") == []
    lossy()
    assert lines("purge", waits, "--yes") == ["purged 1 task"]
    assert set(states()) == {*ids["fine"], *ids["waits"]}


def test_purge_of_what_is_not_there(place: Place) -> None:
    filled(place)
    answer = run("purge", "greet:x", "--yes", code=3)
    assert "could not purge 1 task: greet:x (unknown)" in answer.stderr
    assert answer.stdout == ""
    assert data("purge", "greet:x", "--yes", code=3)["not_done"] == [
        {"id": "greet:x", "did": "unknown"}
    ]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("dead", "list", "--state", "success"), "'success' is not one of"),
        (("dead", "list", "--state", "failed", "--state", "quarantined"), "by itself"),
        (("dead", "replay", "--state", "quarantined"), "'quarantined' is not one of"),
        (("dead", "replay", "--json"), "with --json nobody can be asked"),
        (("dead", "replay", "--delay", "4000d", "--yes"), "delay"),
        (("dead", "replay", "broken:x"), "unexpected extra argument"),
        (("purge",), "--error or --older-than (see xqueue purge --help)"),
        (("purge", "--yes"), "say which tasks"),
        (("purge", "--error", "", "--yes"), "--error: an empty text is in every task"),
        (("purge", "greet:x", "--state", "failed"), "say which tasks"),
        (("purge", "nonsense", "--yes"), "is not an id"),
        (("purge", "--state", "failed", "--state", "quarantined"), "by itself"),
        (("purge", "greet:x", "--json"), "with --json nobody can be asked"),
    ],
)
def test_many_called_wrongly(place: Place, words: tuple[str, ...], says: str) -> None:
    place.submit("greet", name="you")
    refused(*words, code=2, says=says)
    assert len(states()) == 1


@pytest.mark.parametrize(
    ("pick", "fits"),
    [
        ({}, True),
        ({"error": "keyerror"}, True),
        ({"error": "WORKER"}, True),
        ({"error": "other"}, False),
        ({"older_than": 10.0}, True),
        ({"older_than": 10.1}, False),
        ({"error": "k", "older_than": 11.0}, False),
    ],
)
def test_which_tasks_are_meant(pick: dict[str, Any], fits: bool) -> None:
    info = TaskInfo(
        id="a:1",
        lane="a",
        state=State.FAILED,
        finished_at=90.0,
        reason="worker_lost",
        failure=Failure("exception", "KeyError", "k"),
    )
    assert Pick(Filter(), **pick).wanted(info, 100.0) is fits


def test_what_has_not_ended_is_as_old_as_its_acceptance() -> None:
    info = TaskInfo(id="a:1", lane="a", state=State.PENDING, accepted_at=50.0)
    assert Pick(Filter(), older_than=50.0).wanted(info, 100.0)
    assert not Pick(Filter(), older_than=51.0).wanted(info, 100.0)


def test_damaged_tasks_are_meant_by_name_alone() -> None:
    info = TaskInfo(id="a:1", lane="a", state=State.PENDING, quarantined=True)
    assert not Pick(Filter()).wanted(info, 100.0)
    assert Pick(Filter(), quarantined=True).wanted(info, 100.0)
    assert not Pick(Filter(), older_than=0.0, quarantined=True).wanted(info, 100.0)
