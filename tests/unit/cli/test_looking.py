"""`xqueue plugins`, `doctor` and `conformance`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from importlib.metadata import EntryPoint
from typing import Any, ClassVar

import pytest

from support.cli import Place, data, lines, refused, run
from support.socketstore.backend import SocketBackend
from xqueue_core import plugins
from xqueue_core.cli import examining
from xqueue_core.conformance.badge import badge_data, badge_line
from xqueue_core.conformance.report import Report, Result
from xqueue_core.connect import BackendCache
from xqueue_core.findings import Finding, Level
from xqueue_memory import MemoryBackend

# -- plugins -----------------------------------------------------------------------------------


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Besides what is installed, a backend that cannot be imported."""
    real = plugins._entries

    def entries(group: str, given: Any) -> list[EntryPoint]:
        more = EntryPoint("broken", "no_such_module:Thing", "xqueue.backends")
        return [*real(group, given), *([more] if group == more.group else [])]

    monkeypatch.setattr(plugins, "_entries", entries)


def test_plugins(place: Place) -> None:
    found = data("plugins")["plugins"]
    assert all(
        set(one) == {"group", "name", "target", "distribution", "version", "used"} for one in found
    )
    names = {(one["group"], one["name"]) for one in found}
    assert {("xqueue.backends", "memory"), ("xqueue.backends", "sqlite")} <= names
    head, *rows = lines("plugins")
    assert head.split() == ["GROUP", "NAME", "DISTRIBUTION", "VERSION", "USED", "TARGET"]
    assert ["xqueue.backends", "sqlite"] in [row.split()[:2] for row in rows]


def test_plugins_that_cannot_be_loaded_are_listed_and_checked(place: Place, broken: None) -> None:
    assert "broken" in run("plugins").stdout
    assert "problem" not in data("plugins")["plugins"][0]
    found = {one["name"]: one["problem"] for one in data("plugins", "--check", code=1)["plugins"]}
    assert found["sqlite"] is None
    assert "no_such_module" in found["broken"]
    assert "no_such_module" in run("plugins", "--check", code=1).stdout


def test_plugins_in_use_are_those_that_the_settings_name(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XQUEUE_PLUGINS", "prometheus")
    monkeypatch.setenv("XQUEUE_URL", "memory://")
    used = {one["name"]: one["used"] for one in data("plugins")["plugins"]}
    assert used == {**dict.fromkeys(used, False), "memory": True, "prometheus": True}
    assert data("config")["settings"]
    (line,) = [one for one in data("config")["settings"] if one["name"] == "plugins"]
    assert line == {
        "name": "plugins",
        "value": "['prometheus']",
        "origin": "environment variable XQUEUE_PLUGINS",
    }
    monkeypatch.setenv("XQUEUE_CONCURRENCY", "none")
    assert {one["used"] for one in data("plugins")["plugins"]} == {None}


def test_plugins_called_wrongly(place: Place) -> None:
    refused("plugins", "sqlite", code=2, says="unexpected extra argument")


# -- doctor ------------------------------------------------------------------------------------


def verdicts(found: Any) -> dict[str, str]:
    return {one["check"]: one["verdict"] for one in found["checks"]}


def test_doctor_where_all_is_well(place: Place) -> None:
    place.submit("greet", name="you")
    place.work()
    place.beat("w~1", lanes=["greet"])
    found = data("doctor")
    assert set(found) == {"ok", "checks", "versions", "brokers", "describe"}
    assert found["ok"] is True
    assert set(verdicts(found).values()) == {"ok"}, found["checks"]
    assert set(verdicts(found)) >= {
        "settings", "backend", "abilities", "connection", "clock", "ledger", "workers",
        "file", "file system", "disk", "permissions", "leftovers", "sqlite", "busy timeout", "log",
        "tables", "size", "lock", "integrity",
    }  # fmt: skip
    assert found["versions"]["python"].startswith("3.")
    [broker] = found["brokers"]
    assert broker["path"] == str(place.file)
    assert broker["capabilities"]["shared"] is True
    assert "CANCEL" in broker["capabilities"]["abilities"]
    assert found["describe"]["store"] == "SqliteRecords"
    text = run("doctor").stdout
    assert "all 10" in text
    assert str(place.file) in text
    assert "max_payload" in text
    assert "msgspec" in text


def test_doctor_makes_no_database_and_says_that_there_is_none(place: Place) -> None:
    found = data("doctor")
    assert (found["ok"], verdicts(found)["file"]) == (True, "note")
    assert "connection" not in verdicts(found)
    assert not list(place.folder.glob("*.db*"))


def test_doctor_notes_what_holds_tasks_up(place: Place) -> None:
    place.submit("greet", name="you")
    place.submit("broken")
    run("lanes", "pause", "broken")
    details = " ".join(one["detail"] for one in data("doctor")["checks"])
    assert "greet: 1 pending, and no live worker" in details
    assert "broken is paused" in details
    assert "0 alive" in details


def test_doctor_finds_what_is_wrong(place: Place) -> None:
    found = data("doctor", "--url", "sqlite:////no/such/folder/x.db", code=1)
    assert (found["ok"], verdicts(found)["file"]) == (False, "wrong")
    place.file.write_text("hello " * 1000)
    found = data("doctor", code=1)
    assert verdicts(found)["integrity"] == "wrong"
    assert "connection" not in verdicts(found)
    assert place.file.read_text() == "hello " * 1000
    assert "wrong" in run("doctor", code=1).stdout
    (place.folder / "xqueue.toml").write_text("grace = 'soon'\n")
    found = data("doctor", code=1)
    assert verdicts(found) == {"settings": "wrong"}


def test_doctor_where_tasks_run_within_their_submit(place: Place) -> None:
    found = data("doctor", "--url", "inline://")
    assert (found["ok"], found["brokers"]) == (True, [])
    checks = {one["check"]: one for one in found["checks"]}
    assert set(checks) == {"settings", "backend"}
    assert checks["backend"]["verdict"] == "note"
    assert "within its submit" in checks["backend"]["detail"]
    assert "sqlite:///" in checks["backend"]["advice"]


def test_doctor_loads_the_plugins_in_use(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XQUEUE_PLUGINS", "prometheus,opentelemetry")
    assert verdicts(data("doctor"))["plugins"] == "ok"
    monkeypatch.setenv("XQUEUE_PLUGINS", "promethus")
    found = data("doctor", code=1)
    assert verdicts(found)["plugins"] == "wrong"
    assert "did you mean 'prometheus'" in run("doctor", code=1).stdout


def test_doctor_called_wrongly(place: Place) -> None:
    refused("doctor", "sqlite:///x.db", code=2, says="unexpected extra argument")


class Odd(MemoryBackend):
    """Finds what its test tells it to find."""

    finds: ClassVar[Any] = None

    async def examine(self, settings: Any, seconds: float) -> AsyncIterator[Finding]:
        yield Finding("disk", Level.WARNING, "half full", "buy another")
        async for one in self.finds():
            yield one


async def finds_an_error() -> AsyncIterator[Finding]:
    yield Finding("fuse", Level.ERROR, "it is blown", "replace it")


async def raises() -> AsyncIterator[Finding]:
    for name in ("fuse",):
        if name:
            raise KeyError(name)
        yield Finding(name, Level.OK, "")


async def hangs() -> AsyncIterator[Finding]:
    await asyncio.Event().wait()
    yield Finding("fuse", Level.OK, "")


@pytest.fixture
def odd(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The app's broker is the odd one."""
    monkeypatch.setattr(BackendCache, "get", lambda self, name: Odd())
    (place.folder / "xqueue.toml").write_text("url = 'memory://'\n")


@pytest.mark.parametrize(
    ("finds", "code", "check", "verdict", "says"),
    [
        (finds_an_error, 1, "fuse", "wrong", "it is blown"),
        (raises, 1, "examination", "wrong", "KeyError: 'fuse'"),
        (hangs, 0, "examination", "note", "found no more in"),
    ],
)
def test_doctor_tells_what_a_backend_finds(
    odd: None,
    monkeypatch: pytest.MonkeyPatch,
    finds: Any,
    code: int,
    check: str,
    verdict: str,
    says: str,
) -> None:
    monkeypatch.setattr(Odd, "finds", staticmethod(finds))
    monkeypatch.setattr(examining, "HANGING", -examining.LOOK + 0.1)
    found = data("doctor", code=code)
    checks = {one["check"]: one for one in found["checks"]}
    # What it had found before is kept, with what to do.
    assert checks["disk"] == {
        "check": "disk", "verdict": "note", "detail": "half full", "advice": "buy another"
    }  # fmt: skip
    assert checks[check]["verdict"] == verdict
    assert says in checks[check]["detail"]
    # What is found wrong is not connected to: that might make it worse.
    connects = finds is not finds_an_error
    assert ("connection" in checks) is connects
    assert "half full: buy another" in run("doctor", code=code).stdout


# -- conformance -------------------------------------------------------------------------------


def some() -> list[str]:
    """Two cases of the kit, as options."""
    ids = [one["id"] for one in data("conformance", "--list")["cases"]]
    assert len(ids) > 50
    return ["--only", ids[0], "--only", ids[1]]


def test_conformance_lists_its_cases(place: Place) -> None:
    head, *rows = lines("conformance", "--list")
    assert head.split() == ["CASE", "SAYS"]
    assert len(rows) == len(data("conformance", "--list")["cases"])


def test_conformance_of_some_cases_is_partial(place: Place) -> None:
    only = some()
    files = ("--report", "kit.json", "--badge", "badge.json")
    answer = run("conformance", "memory://", *only, *files, code=1)
    *_, summary, badge = answer.stdout.splitlines()
    assert "2 of " in summary
    assert badge.startswith("![xqueue conformance: memory 2 of ")
    assert answer.stderr.count("passed ") == 2
    written = json.loads((place.folder / "kit.json").read_text())
    assert [one["passed"] for one in written["results"]] == [True, True]
    assert json.loads((place.folder / "badge.json").read_text()) == written["badge"]
    assert written["badge"]["schemaVersion"] == 1
    found = data("conformance", "--url", "memory://", *only, code=1)
    assert found["partial"]
    assert found["badge"]["color"] == "yellow"
    assert len(found["results"]) == 2


def test_badges() -> None:
    report = Report("my-broker", "asyncio", ["A01"], {})
    report.add(Result("A01", True, 0.1))
    assert badge_data(report)["color"] == "brightgreen"
    assert badge_line(report) == (
        "![xqueue conformance: my-broker 1 of 1 passed](https://img.shields.io/badge/"
        "xqueue%20conformance-my--broker%201%20of%201%20passed-brightgreen)"
    )
    report.add(Result("A01", False, 0.1))
    assert (badge_data(report)["color"], badge_data(report)["message"]) == (
        "red",
        "my-broker 0 of 1 passed",
    )


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "which broker?"),
        (("kit.db",), "a file of SQLite is sqlite:///kit.db"),
        (("memory://", "--url", "memory://"), "the broker is given twice"),
        (("nosuch://x",), "no backend named 'nosuch'"),
        (("memory://", "--only", "Z99"), "no such cases: Z99"),
        (("memory://", "--loop", "trio"), "'trio' is not one of"),
        (("memory://", "--proxy"), "leave out --proxy"),
        (("sqlite:///no/such/folder/kit.db",), "there is no folder"),
        (("memory://", "--only", "A01", "--report", "no/such/kit.json"), "--report"),
        (("memory://", "--only", "A01", "--badge", "no/such/kit.json"), "--badge"),
    ],
)
def test_conformance_called_wrongly(place: Place, words: tuple[str, ...], says: str) -> None:
    refused("conformance", *words, code=2, says=says)


def test_conformance_of_a_broker_that_is_not_there(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xqueue_core.plugins.load_backend", lambda name: SocketBackend())
    refused("conformance", "socket://127.0.0.1:1", "--proxy", code=1, says="no case was tried")


def test_plugins_that_the_settings_name_and_nobody_has(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XQUEUE_PLUGINS", "promtheus")
    found = data("plugins", "--check", code=1)["plugins"]
    [one] = [one for one in found if one["name"] == "promtheus"]
    assert one["used"]
    assert "did you mean 'prometheus'" in one["problem"]
    monkeypatch.setenv("XQUEUE_PLUGINS", "prometheus")
    monkeypatch.setenv("XQUEUE_URL", "inline://")
    assert not [one for one in data("plugins", "--check")["plugins"] if one["problem"]]
