"""`xqueue submit`."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from support.cli import Place, data, lines, refused, run

ROOT = Path(__file__).parents[3]

APP = ("--app", "jobs.py")


def test_submit_prints_the_id(place: Place) -> None:
    [id] = lines("submit", "greet", "name=you", *APP)
    assert re.fullmatch(r"greet:[0-9a-f-]{36}", id)
    assert data("task", "show", id)["payload"] == {"name": "you"}
    said = data("submit", "greet", "name=you", *APP)
    assert (said["type"], said["duplicate"]) == ("greet", False)


def test_submit_with_options(place: Place) -> None:
    options = ("--delay", "1h30m", "--priority", "7", "--max-retry", "2", "--id", "one")
    assert lines("submit", "greet", "name=you", *options, *APP) == ["greet:one"]
    task = data("task", "show", "greet:one")
    assert task["state"] == "scheduled"
    assert (task["options"]["delay"], task["options"]["priority"]) == (5400.0, 7)
    assert task["max_attempts"] == 3
    assert data("submit", "greet", "name=you", "--id", "one", *APP)["duplicate"] is True


def test_submit_at_a_time(place: Place) -> None:
    [id] = lines("submit", "greet", "name=you", "--run-at", "2030-01-31T10:00:00+01:00", *APP)
    assert data("task", "show", id)["due_at"] == "2030-01-31T09:00:00.000Z"


def test_submit_with_a_unique_key_gives_one_task(place: Place) -> None:
    first = data("submit", "greet", "name=a", "--unique-key", "k", *APP)
    second = data("submit", "greet", "name=b", "--unique-key", "k", *APP)
    assert (first["id"], second["duplicate"]) == (second["id"], True)


def test_the_types_own_options_hold_where_none_are_given(place: Place) -> None:
    [id] = lines("submit", "report", "name=x", *APP)
    assert data("task", "show", id)["options"]["priority"] == 4
    answer = run("submit", "report", "name=x", "--max-retry", "0")
    assert "default options" in answer.stderr
    options = data("task", "show", answer.stdout.strip())["options"]
    assert (options["priority"], options["max_retry"]) == (0, 0)


def test_submit_and_wait(place: Place) -> None:
    place.submit("greet", name="first", options={"id": "one"})
    place.work()
    wait = ("submit", "greet", "name=you", "--id", "one", "--wait", *APP)
    assert lines(*wait) == ["greet:one", '"hello first"']
    said = data(*wait)
    assert (said["result"], said["duplicate"], said["state"]) == ("hello first", True, "success")
    place.submit("broken", options={"id": "two"})
    place.work()
    failing = ("submit", "broken", "--id", "two", "--wait", *APP)
    refused(*failing, code=1, says="task broken:two failed: ValueError: no such thing")
    late = ("submit", "greet", "name=x", "--id", "three", "--wait", "--timeout", "0.1", *APP)
    refused(*late, code=4, says="has not ended within 0.1 s")
    assert data(*late, code=4)["state"] == "pending"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a=1", {"a": 1}),
        ("a=x=1", {"a": "x=1"}),
        ("a==1", {"a": "1"}),
        ("a:=[1, 2]", {"a": [1, 2]}),
        ("a=", {"a": ""}),
        ('a={"b": null}', {"a": {"b": None}}),
    ],
)
def test_arguments_are_json_or_else_text(place: Place, text: str, value: object) -> None:
    place.submit("broken")  # now the broker knows the type, whose app is not asked
    [id] = lines("submit", "broken", text)
    assert data("task", "show", id)["payload"] == value


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("greet", "nme=1"), 2, "do not fit 'greet': it has no argument `nme`; did you mean"),
        (("greet", "name=1"), 2, "to give text, write name==value"),
        (("greet",), 2, "missing required field `name`"),
        (("greet", "name"), 2, "'name' is not name=value"),
        (("greet", "=x"), 2, "'=x' is not name=value"),
        (("greet", "name:=x"), 2, "the argument 'name' is not JSON: 'x'"),
        (("greet", "name=x", "name=y"), 2, "the argument 'name' is given twice"),
        (("greet", "name=" + "[" * 20_000), 0, ""),
        (("greet", "name:=" + "[" * 20_000), 2, "is not JSON"),
        (("broken", "text:=NaN"), 2, "nan has no JSON form"),
        (("nothing", "a=1"), 3, "no task type is named 'nothing'"),
        (("bad type", "a=1"), 2, "a type's name is 1 to 64"),
        (("greet", "name=x", "--priority", "11"), 2, "priority"),
        (("greet", "name=x", "--priority", "high"), 2, "--priority"),
        (("greet", "name=x", "--delay", "soon"), 2, "'soon' is no duration"),
        (("greet", "name=x", "--delay", "1", "--run-at", "2040-01-01T00:00Z"), 2, "not both"),
        (("greet", "name=x", "--run-at", "2040-01-01T00:00"), 2, "has no time zone"),
        (("greet", "name=x", "--run-at", "noon"), 2, "is no time"),
        (("greet", "name=x", "--id", "a", "--unique-key", "b"), 2, "or `unique_key`, not both"),
        (("greet", "name=x", "--id", "other:a"), 2, "is not one of type 'greet'"),
        (("greet", "name=x", "--timeout", "1"), 2, "--timeout is for --wait"),
        (("greet", "name=" + "x" * 600_000), 2, "at most 524288"),
    ],
)
def test_what_does_not_fit_is_told_in_one_line(
    place: Place, words: tuple[str, ...], code: int, says: str
) -> None:
    if code == 0:
        run("submit", *words, *APP)
        return
    refused("submit", *words, *APP, code=code, says=says)


def test_submit_makes_the_database(place: Place) -> None:
    [id] = lines("submit", "greet", "name=you", *APP)
    assert place.file.exists()
    assert json.loads(run("task", "list", "--json").stdout)["tasks"][0]["id"] == id


#: The command, with a put that says when it was carried out, and answers when stdin has ended.
SLOW = """
import asyncio, sys
from xqueue_core.cli.group import xqueue
from xqueue_core.stored.queue import StoredQueue

put = StoredQueue.put

async def slow(self, tasks):
    answers = await put(self, tasks)
    print("put", file=sys.stderr, flush=True)
    await asyncio.to_thread(sys.stdin.read)
    return answers

StoredQueue.put = slow
xqueue(sys.argv[1:])
"""

#: The command, which says when its wait begins.
WAITING = """
import sys
from xqueue_core.cli.group import xqueue
from xqueue_core.handle import Handle

wait = Handle.wait

async def said(self, timeout=None):
    print("waits", file=sys.stderr, flush=True)
    return await wait(self, timeout)

Handle.wait = said
xqueue(sys.argv[1:])
"""


def interrupted(place: Place, code: str, *options: str, when: str) -> str:
    """What `xqueue submit` says of Ctrl-C, pressed when this has been said."""
    place.submit("greet", name="another")  # else it also says that it has made the database
    paths = [str(ROOT), str(ROOT / "tests"), *map(str, ROOT.glob("backends/*"))]
    process = subprocess.Popen(
        [sys.executable, "-c", code, "submit", "greet", "name=you", "--id", "one", *APP, *options],
        cwd=place.folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stderr is not None
    assert process.stderr.readline() == f"{when}\n"
    process.send_signal(signal.SIGINT)
    said = process.stderr.readline()
    _, more = process.communicate(timeout=30)
    assert (process.returncode, more) == (130, "")
    return said


def test_ctrl_c_while_the_put_is_under_way_tells_the_id(place: Place) -> None:
    assert interrupted(place, SLOW, when="put") == (
        "Interrupted: submit of greet:one was cancelled, outcome unknown; "
        "see `xqueue task show greet:one`\n"
    )
    assert data("task", "show", "greet:one")["state"] == "pending"


def test_ctrl_c_while_it_waits_tells_the_id(place: Place) -> None:
    assert interrupted(place, WAITING, "--wait", "--json", when="waits") == (
        "Interrupted: task greet:one was accepted, and is not waited for any more; "
        "see `xqueue task show greet:one`\n"
    )


def test_plugins_are_told_of_a_submit_from_the_command_line(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XQUEUE_PLUGINS", "promethus")
    refused("submit", "greet", "name=you", *APP, code=2, says="did you mean 'prometheus'")
    assert not place.file.exists() or data("task", "list")["tasks"] == []
    monkeypatch.setenv("XQUEUE_PLUGINS", "opentelemetry")
    told: list[str] = []

    def submit(self: object, batch: list[Any]) -> None:
        told.extend(one.task.id for one in batch)

    monkeypatch.setattr("xqueue_opentelemetry.spans.Spans.submit", submit, raising=True)
    id = data("submit", "greet", "name=you", *APP)["id"]
    assert told == [id]
