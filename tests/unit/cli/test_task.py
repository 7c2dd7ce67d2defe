"""`xqueue task`."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from support.apps import make_app
from support.cli import Place, data, declare, lines, refused, run
from support.workers import TIMES, until
from xqueue_core.cli.shown.tasks import parts
from xqueue_core.task import State, Task
from xqueue_core.views import TaskInfo
from xqueue_core.worker import Worker

DETAILS = (
    "accepted_at attempt cancel_requested content_type delivery due_at duplicate_of failure "
    "finished_at history id lane losses max_attempts options payload progress quarantined reason "
    "replays result result_kept result_type started_at state type waiting_for worker"
)


# -- show --------------------------------------------------------------------------------------


def test_show_as_json_has_every_field_and_nothing_in_base64(place: Place) -> None:
    id = place.submit("greet", name="you")
    fresh = data("task", "show", id)
    assert sorted(fresh) == DETAILS.split()
    assert fresh["payload"] == {"name": "you"}
    assert (fresh["state"], fresh["result"], fresh["result_kept"]) == ("pending", None, False)
    place.work()
    done = data("task", "show", id)
    assert set(done) == set(fresh)
    assert (done["state"], done["result"], done["result_kept"]) == ("success", "hello you", True)
    [attempt] = done["history"]
    assert (attempt["attempt"], attempt["how"]) == (1, "success")
    assert attempt["worker"].startswith("tester~")
    for moment in ("accepted_at", "started_at", "finished_at"):
        assert done[moment].endswith("Z")
    assert done["options"]["max_retry"] == 0


def test_show_for_people(place: Place) -> None:
    id = place.submit("broken", text="\x1b[31m[red]")
    place.work()
    text = run("task", "show", id).stdout
    first, *rest = text.splitlines()
    assert first == id
    fields = {line[2:14].strip(): line[14:] for line in rest}
    assert fields["state"] == r"failed: ValueError: \x1b[31m[red]"
    assert fields["attempt"] == "1 of 1"
    assert fields["payload"] == r'{"text": "\u001b[31m[red]"}'
    assert "    Traceback (most recent call last):" in rest
    assert any(line.split()[:3] == ["ATTEMPT", "WORKER", "STARTED"] for line in rest)
    assert "\x1b" not in text
    failure = data("task", "show", id)["failure"]
    assert (failure["reason"], failure["type"]) == ("exception", "ValueError")
    assert failure["message"] == "\x1b[31m[red]"


def test_show_says_that_the_worker_which_has_it_stops(place: Place) -> None:
    id = place.submit("greet", name="you")
    place.lease("greet")
    assert "  worker      hand~1" in lines("task", "show", id)
    run("workers", "stop", "hand~1")
    said = lines("task", "show", id)
    assert "  worker      hand~1, which is stopping" in said
    assert "that worker is stopping" in run("task", "why", id).stdout


@pytest.mark.parametrize(
    ("attempt", "losses", "says"),
    [
        (1, 0, "1 of 2"),
        (1, 1, "1 of 2, not counting 1 lost with a worker"),
        (0, 3, "none of 2, not counting 3 lost with a worker"),
    ],
)
def test_show_tells_losses_beside_the_attempts_that_count(
    attempt: int, losses: int, says: str
) -> None:
    task = Task(id="t:1", lane="t", max_retry=1)
    info = TaskInfo(
        id="t:1", lane="t", state=State.FAILED, attempt=attempt, losses=losses, task=task
    )
    assert f"  attempt     {says}" in parts(info)


def test_show_what_is_not_there(place: Place) -> None:
    place.submit("greet", name="you")
    refused("task", "show", "greet:nobody", code=3, says="no record of task greet:nobody")
    refused("task", "show", "nonsense", code=2, says="is not an id")
    refused("task", "show", code=2, says="Missing argument 'ID'")


# -- why ---------------------------------------------------------------------------------------


def test_why_tells_people_what_to_do(place: Place) -> None:
    id = place.submit("greet", name="you")
    first, *rest = run("task", "why", id).stdout.splitlines()
    assert first == f"{id} is pending."
    assert any("no worker" in one.lower() for one in rest)
    assert all(one.startswith(("- ", "    xqueue ")) for one in rest)


def test_why_as_json(place: Place) -> None:
    id = place.submit("greet", name="you")
    told = data("task", "why", id)
    assert (told["id"], told["state"], told["lane"]) == (id, "pending", "greet")
    [reason] = [one for one in told["reasons"] if one["code"] == "no_worker"]
    assert "greet" in reason["text"]


def test_why_shows_nothing_raw(place: Place) -> None:
    id = place.submit("broken", text="\x1b[31m[red]")
    place.work()
    text = run("task", "why", id).stdout
    assert r"\x1b[31m[red]" in text
    assert "\x1b" not in text


def test_why_of_nothing(place: Place) -> None:
    place.submit("greet", name="you")
    refused("task", "why", "greet:nobody", code=3, says="greet:nobody")
    refused("task", "why", "nonsense", code=2, says="is not an id")
    refused("task", "why", code=2, says="Missing argument 'ID'")


# -- list --------------------------------------------------------------------------------------


def test_list_filters_and_pages(place: Place) -> None:
    ids = {place.submit("greet", name=str(n)) for n in range(3)}
    place.work()
    waits = place.submit("greet", name="later", options={"delay": 60})
    other = place.submit("broken")
    assert {one["id"] for one in data("task", "list")["tasks"]} == {*ids, waits, other}
    assert {one["id"] for one in data("task", "list", "--state", "success")["tasks"]} == ids
    assert [one["id"] for one in data("task", "list", "--type", "broken")["tasks"]] == [other]
    assert [one["id"] for one in data("task", "list", "--lane", "broken")["tasks"]] == [other]
    both = data("task", "list", "--state", "pending", "--state", "scheduled")["tasks"]
    assert {one["id"] for one in both} == {waits, other}
    seen: list[str] = []
    after: tuple[str, ...] = ()
    while True:
        page = data("task", "list", "--limit", "2", *after)
        seen += [one["id"] for one in page["tasks"]]
        assert len(page["tasks"]) <= 2
        if page["next"] is None:
            break
        after = ("--after", page["next"])
    assert sorted(seen) == sorted({*ids, waits, other})


def test_list_for_people_says_how_to_go_on(place: Place) -> None:
    ids = [place.submit("greet", name=str(n)) for n in range(2)]
    answer = run("task", "list", "--limit", "1")
    head, row = answer.stdout.splitlines()
    assert head.split() == ["ID", "STATE", "LANE", "ATTEMPT", "ACCEPTED", "REASON", "PAYLOAD"]
    assert row.split()[0] in ids
    word, option, cursor = answer.stderr.split()
    assert (word, option) == ("More:", "--after")
    [_, row] = lines("task", "list", "--after", cursor)
    assert row.split()[0] in ids


def test_list_called_wrongly(place: Place) -> None:
    place.submit("greet", name="you")
    refused("task", "list", "--state", "lost", code=2, says="'lost' is not one of")
    refused("task", "list", "--limit", "0", code=2, says="--limit")
    refused("task", "list", "--after", "%%", code=2, says="not a cursor")


# -- wait --------------------------------------------------------------------------------------


def test_wait_gives_the_result(place: Place) -> None:
    id = place.submit("greet", name="you")
    place.work()
    assert lines("task", "wait", id, "--timeout", "10") == ['"hello you"']
    assert data("task", "wait", id)["result"] == "hello you"


def test_wait_for_a_failure_is_1_and_tells_it_in_one_line(place: Place) -> None:
    id = place.submit("broken")
    place.work()
    refused("task", "wait", id, code=1, says="failed: ValueError: no such thing")
    assert data("task", "wait", id, code=1)["state"] == "failed"


def test_wait_that_ends_is_4(place: Place) -> None:
    id = place.submit("greet", name="you")
    refused("task", "wait", id, "--timeout", "0.1", code=4, says="has not ended within 0.1 s")
    assert data("task", "wait", id, "--timeout", "50ms", code=4)["state"] == "pending"


def test_wait_called_wrongly(place: Place) -> None:
    place.submit("greet", name="you")
    refused("task", "wait", "greet:nobody", code=3, says="no record of task")
    refused("task", "wait", "greet:x", "--timeout", "soon", code=2, says="no duration")
    refused("task", "wait", "greet:x", "--timeout", "-1", code=2, says="no duration")


# -- cancel and replay ---------------------------------------------------------------------------


def test_cancel(place: Place) -> None:
    id, other = place.submit("greet", name="a"), place.submit("greet", name="b")
    assert lines("task", "cancel", id, "--reason", "not needed") == [f"canceled {id}"]
    assert data("task", "cancel", other) == {"id": other, "did": "applied"}
    assert data("task", "show", id)["reason"] == "not needed"


def test_cancel_of_a_task_that_runs_is_a_wish(place: Place) -> None:
    id = place.submit("greet", name="you")
    assert place.lease("greet") == [id]
    assert lines("task", "cancel", id) == [f"asked for the end of {id}, which runs"]
    assert data("task", "show", id)["cancel_requested"] is True


def test_cancel_that_cannot_be(place: Place) -> None:
    id = place.submit("greet", name="you")
    run("task", "cancel", id)
    refused("task", "cancel", id, code=5, says="it has ended already")
    assert data("task", "cancel", id, code=5) == {"id": id, "did": "final"}
    refused("task", "cancel", "greet:nobody", code=3, says="no record of task")
    refused("task", "cancel", "nonsense", code=2, says="is not an id")


def test_replay(place: Place) -> None:
    id = place.submit("broken")
    place.work()
    assert lines("task", "replay", id) == [f"replayed {id}"]
    place.work()
    assert data("task", "replay", id, "--delay", "1h") == {"id": id, "did": "applied"}
    assert data("task", "show", id)["state"] == "scheduled"
    assert data("task", "show", id)["replays"] == 2


def test_replay_that_cannot_be(place: Place) -> None:
    id = place.submit("greet", name="you")
    refused("task", "replay", id, code=5, says="it has not ended")
    refused("task", "replay", "greet:nobody", code=3, says="no record of task")
    refused("task", "replay", id, "--delay", "4000d", code=2, says="delay")


def test_reschedule(place: Place) -> None:
    id = place.submit("greet", name="you")
    assert lines("task", "reschedule", id, "--delay", "1h") == [f"rescheduled {id}"]
    assert data("task", "show", id)["state"] == "scheduled"
    at = "2030-01-31T09:00:00Z"
    assert data("task", "reschedule", id, "--run-at", at) == {"id": id, "did": "applied"}
    assert data("task", "show", id)["due_at"].startswith("2030-01-31T09:00:00")
    run("task", "reschedule", id, "--delay", "0")
    place.work()
    assert data("task", "show", id)["state"] == "success"


def test_reschedule_that_cannot_be(place: Place) -> None:
    id = place.submit("greet", name="you")
    refused("task", "reschedule", id, code=2, says="give either --delay or --run-at")
    both = ("--delay", "1", "--run-at", "2030-01-31T09:00:00Z")
    refused("task", "reschedule", id, *both, code=2, says="give either --delay or --run-at")
    refused("task", "reschedule", id, "--delay", "4000d", code=2, says="delay")
    zoneless = ("--run-at", "2030-01-31T09:00:00")
    refused("task", "reschedule", id, *zoneless, code=2, says="no time zone")
    refused("task", "reschedule", "greet:nobody", "--delay", "1", code=3, says="no record of task")
    assert place.lease("greet") == [id]
    refused("task", "reschedule", id, "--delay", "1", code=5, says="it has started")
    assert data("task", "reschedule", id, "--delay", "1", code=5) == {"id": id, "did": "running"}


def test_reschedule_of_what_has_ended(place: Place) -> None:
    id = place.submit("greet", name="you")
    place.work()
    refused("task", "reschedule", id, "--delay", "1", code=5, says="it has ended already")


# -- events --------------------------------------------------------------------------------------


@contextmanager
def worked_on_later(place: Place, id: str) -> Iterator[None]:
    """Meanwhile, another thread runs the task once it is due."""

    async def main() -> None:
        async with declare(make_app(place.url)) as app:
            worker = Worker(app, **TIMES)
            running = asyncio.create_task(worker.run())

            async def ended() -> bool:
                return (await app.handle(id).state()).final

            await until("the task ends", ended)
            worker.stop()
            await running

    thread = threading.Thread(target=asyncio.run, args=(main(),))
    thread.start()
    try:
        yield
    finally:
        thread.join(30)


def test_events_are_lines_until_the_end_and_go_on_from_a_cursor(place: Place) -> None:
    id = place.submit("greet", name="you", options={"delay": 1.0})
    with worked_on_later(place, id):
        answer = run("task", "events", id, "--json")
    notices = [json.loads(line) for line in answer.stdout.splitlines()]
    names = [one["name"] for one in notices]
    assert names[-2:] == ["leased", "finished"]
    assert notices[-1]["state"] == "success"
    assert notices[-1]["at"].endswith("Z")
    assert all(one["gap"] is False and one["id"] == id for one in notices)
    again = lines("task", "events", id, "--after", notices[-2]["cursor"])
    [line] = again
    assert line.split()[1:3] == ["finished", "success"]
    assert f"cursor={notices[-1]['cursor']}" in line


def test_events_of_what_is_not_there(place: Place) -> None:
    id = place.submit("greet", name="you")
    refused("task", "events", "greet:nobody", code=3, says="no record of task")
    refused("task", "events", id, "--after", "nowhere", code=2, says="cursor")


@pytest.mark.parametrize("words", ["show", "wait", "cancel", "replay", "reschedule", "events"])
def test_an_option_that_there_is_not(place: Place, words: str) -> None:
    refused("task", words, "greet:x", "--nonsense", code=2, says="No such option")
