"""What commands say: wrong usage in one line, names that are not known, states as they are."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import click
import pytest

from support.cli import Place, data, lines, refused, run
from xqueue_core import Handle
from xqueue_core.calls import Beat
from xqueue_core.cli.group import xqueue
from xqueue_core.cli.shown.workers import state_of
from xqueue_core.client.options import SubmitOptions
from xqueue_core.settings import Settings
from xqueue_core.views import WorkerInfo
from xqueue_core.worker import Worker

APP = ("--app", "jobs.py")


def parameters(function: Callable[..., Any]) -> set[str]:
    """The names of what it takes."""
    return set(inspect.signature(function).parameters)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("submit",), "Error: Missing argument 'TYPE' (see xqueue submit --help)"),
        (("--foo",), "Error: No such option"),
        (("task", "shw"), "Error: No such command 'shw'. Did you mean 'show'? (see xqueue task"),
        (("task", "show"), "Error: Missing argument 'ID' (see xqueue task show --help)"),
        (("completion",), "Error: Missing argument "),
        (("top", "x"), "Error: Got unexpected extra argument (x) (see xqueue top --help)"),
    ],
)
def test_wrong_usage_is_one_line(place: Place, words: tuple[str, ...], line: str) -> None:
    answer = run(*words, code=2)
    [said] = answer.stderr.splitlines()
    assert said.startswith(line)
    assert answer.stdout == ""


def test_a_group_by_itself_shows_its_help(place: Place) -> None:
    for words in ((), ("task",)):
        answer = run(*words, code=None)
        assert "Commands:" in answer.output
        assert "Error" not in answer.output


@pytest.mark.parametrize("words", [("purge", "--state", "failed"), ("dead", "replay")])
def test_where_nobody_can_be_asked_the_option_is_named(
    place: Place, words: tuple[str, ...]
) -> None:
    place.submit("broken")
    place.work()
    refused(*words, code=1, says="nobody answered, so nothing was done: give --yes", input="")
    assert data("dead", "list")["tasks"] != []


def test_a_submit_with_every_option(place: Place) -> None:
    times = ("--queue-timeout", "2m", "--process-timeout", "90", "--result-ttl", "7d")
    headers = ("--header", "trace=a=b", "--header", "empty=")
    [id] = lines("submit", "greet", "name=you", *times, *headers, *APP)
    options = data("task", "show", id)["options"]
    assert (options["queue_timeout"], options["process_timeout"]) == (120.0, 90.0)
    assert (options["result_ttl"], options["headers"]) == (604800.0, {"trace": "a=b", "empty": ""})
    wrong = {"x": "--header 'x' is not name=value", "=x": "'=x' is not name=value"}
    for header, says in wrong.items():
        refused("submit", "greet", "name=x", "--header", header, *APP, code=2, says=says)
    twice = ("--header", "a=1", "--header", "a=2")
    refused("submit", "greet", "name=x", *twice, *APP, code=2, says="'a' is given twice")


#: Commands, by what of the Python interface each stands for, and options that it adds.
INTERFACE: list[tuple[str, set[str], set[str]]] = [
    ("submit", set(SubmitOptions.__annotations__), {"header", "wait", "timeout"}),
    ("task wait", parameters(Handle.wait), set()),
    ("task cancel", parameters(Handle.cancel), set()),
    ("task replay", parameters(Handle.replay), set()),
    ("task reschedule", parameters(Handle.reschedule), set()),
    ("task events", parameters(Handle.events), set()),
    (
        "worker",
        parameters(Worker) | set(Settings.model_fields),
        {"supervised", "words_fd", "wait_for_broker"},
    ),
]


@pytest.mark.parametrize(("command", "called", "own"), INTERFACE)
def test_options_have_the_names_of_the_python_interface(
    command: str, called: set[str], own: set[str]
) -> None:
    found: Any = xqueue
    for name in command.split():
        found = found.get_command(click.Context(found), name)
    options = {
        option.removeprefix("--").replace("-", "_")
        for one in found.params
        if isinstance(one, click.Option)
        for option in one.opts
    }
    assert options - {"app", "url", "json"} - own <= called


def test_durations_have_units_wherever_there_are_any(place: Place) -> None:
    place.submit("greet", name="you")
    run("top", "--once", "--interval", "500ms")
    run("worker", "jobs.py", "--grace", "1m", "--help")
    refused("top", "--once", "--interval", "2h", code=2, says="'2h' is not 0.1 to 3600 seconds")
    refused("worker", "jobs.py", "--grace", "soon", code=2, says="'soon' is no duration")


def test_names_that_are_not_known_are_told_where_nothing_is_found(place: Place) -> None:
    place.submit("greet", name="you")
    for words in (
        ("task", "list", "--type", "gret"),
        ("purge", "--state", "pending", "--type", "gret", "--yes"),
        ("dead", "list", "--type", "gret"),
        ("dead", "replay", "--type", "gret", "--yes"),
    ):
        warned = "Warning: there is no type 'gret'; did you mean 'greet'? (known: greet)\n"
        assert run(*words).stderr == warned
    assert "no lane 'nope' (known: greet)" in run("purge", "--lane", "nope", "--yes").stderr
    assert run("task", "list", "--type", "greet", "--state", "failed").stderr == ""
    assert data("task", "list", "--lane", "nope")["tasks"] == []


def test_a_worker_that_is_not_heard_of_is_late_before_it_is_dead() -> None:
    def seen(ago: float, *, alive: bool = True, heartbeat: float = 1.0) -> str:
        beat = Beat(worker="w~1", lease=15.0, heartbeat=heartbeat)
        return state_of(WorkerInfo(beat=beat, alive=alive, seen_ago=ago))

    assert (seen(0.9), seen(7.8), seen(16.0, alive=False)) == ("alive", "late", "dead")
    assert (seen(7.8, heartbeat=3.0), seen(9.5, heartbeat=3.0)) == ("alive", "late")
    assert seen(2.0, heartbeat=0.1) == "alive"  # a busy machine may be that late


def test_a_task_that_was_handed_back_has_no_worker(place: Place) -> None:
    id = place.submit("greet", name="you")
    place.hand_back("greet", "stop")
    said = "\n".join(lines("task", "show", id))
    assert "state       pending: handed back (stop)" in said
    assert "\n  started" not in said
    assert "\n  worker" not in said
    assert "hand~1" in said  # the history has it
    assert data("task", "show", id)["reason"] == "stop"


def test_purging_what_has_not_ended_cancels_it(place: Place) -> None:
    for name in ("a", "b"):
        place.submit("greet", name=name)
    waiting = ("purge", "--state", "pending")
    assert lines(*waiting, "--dry-run") == ["2 tasks would be canceled"]
    assert "Cancel 2 tasks? [y/N]" in run(*waiting, input="n\n", code=1).stderr
    assert lines(*waiting, "--yes") == ["canceled 2 tasks; purge again to forget them"]
    place.submit("greet", name="c")
    both = ("purge", "--state", "pending", "--state", "canceled")
    assert "Purge 2 tasks and cancel 1 task?" in run(*both, input="n\n", code=1).stderr
    said = data(*both, "--yes")
    assert (said["matched"], said["purged"], said["canceled"]) == (3, 3, 1)
    id = data("task", "list")["tasks"][0]["id"]
    assert lines("purge", id, "--yes") == ["purged 1 task"]
    id = place.submit("greet", name="d")
    assert lines("purge", id, "--yes") == ["canceled 1 task; purge again to forget it"]
