"""`xqueue plugins`, `config`, `doctor` and `conformance`."""

from __future__ import annotations

import json
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from support.cli import Place, data, lines, refused, run
from xqueue_core import plugins
from xqueue_core.cli.mounts import filesystem, is_network
from xqueue_core.cli.shown.badge import badge_data, badge_line
from xqueue_core.conformance.report import Report, Result

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
    assert all(set(one) == {"group", "name", "target", "distribution", "version"} for one in found)
    names = {(one["group"], one["name"]) for one in found}
    assert {("xqueue.backends", "memory"), ("xqueue.backends", "sqlite")} <= names
    head, *rows = lines("plugins")
    assert head.split() == ["GROUP", "NAME", "DISTRIBUTION", "VERSION", "TARGET"]
    assert ["xqueue.backends", "sqlite"] in [row.split()[:2] for row in rows]


def test_plugins_that_cannot_be_loaded_are_listed_and_checked(place: Place, broken: None) -> None:
    assert "broken" in run("plugins").stdout
    assert "problem" not in data("plugins")["plugins"][0]
    found = {one["name"]: one["problem"] for one in data("plugins", "--check", code=1)["plugins"]}
    assert found["sqlite"] is None
    assert "no_such_module" in found["broken"]
    assert "no_such_module" in run("plugins", "--check", code=1).stdout


def test_plugins_called_wrongly(place: Place) -> None:
    refused("plugins", "sqlite", code=2, says="unexpected extra argument")


# -- config ------------------------------------------------------------------------------------


def test_config_says_where_each_value_is_from(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place.folder / "xqueue.toml").write_text("grace = 5.0\n[sqlite]\nbusy_timeout = 3.0\n")
    monkeypatch.setenv("XQUEUE_CONCURRENCY", "7")
    monkeypatch.setenv("XQUEUE_SEMAPHORE_URL", "sqlite:///limits.db?password=hush")
    found = {one["name"]: one for one in data("config", "--url", "sqlite:///x.db")["settings"]}
    assert found["grace"] == {
        "name": "grace",
        "value": "5.0",
        "origin": str(place.folder / "xqueue.toml"),
    }
    assert found["concurrency"]["origin"] == "environment variable XQUEUE_CONCURRENCY"
    assert (found["url"]["value"], found["url"]["origin"]) == ("'sqlite:///x.db'", "command line")
    assert (found["lease"]["value"], found["lease"]["origin"]) == ("15.0", "default")
    assert found["sqlite.busy_timeout"]["value"] == "3.0"
    assert "hush" not in json.dumps(found)
    assert not list(place.folder.glob("*.db*"))


def test_config_for_people_and_what_was_said_alone(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XQUEUE_GRACE", "4")
    head, *rows = lines("config")
    assert head.split() == ["NAME", "VALUE", "ORIGIN"]
    assert ["lease", "15.0", "default"] in [row.split() for row in rows]
    [_, row] = lines("config", "--set")
    assert row.split()[:2] == ["grace", "4.0"]


def test_config_that_is_wrong(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    refused("config", "--nonsense", code=2, says="No such option")
    monkeypatch.setenv("XQUEUE_GRACE", "soon")
    refused("config", code=2, says="grace = 'soon' (environment variable XQUEUE_GRACE)")


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
        "settings", "backend", "abilities", "file", "connection", "clock", "ledger", "workers"
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
    assert verdicts(found)["connection"] == "wrong"
    assert "wrong" in run("doctor", code=1).stdout
    (place.folder / "xqueue.toml").write_text("grace = 'soon'\n")
    found = data("doctor", code=1)
    assert verdicts(found) == {"settings": "wrong"}


def test_doctor_called_wrongly(place: Place) -> None:
    refused("doctor", "sqlite:///x.db", code=2, says="unexpected extra argument")


def test_file_systems_are_told(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(
        "rootfs / ext4 rw 0 0\nserver:/x /srv/da\\040ta nfs4 rw 0 0\nt /srv tmpfs rw 0 0\n"
    )
    assert filesystem(Path("/etc/x"), mounts) == "ext4"
    assert filesystem(Path("/srv/da ta/q.db"), mounts) == "nfs4"
    assert filesystem(Path("/srv/dada"), mounts) == "tmpfs"
    assert filesystem(Path("/srvx"), mounts) == "ext4"
    assert filesystem(Path("/x"), tmp_path / "none") == ""
    assert [is_network(kind) for kind in ("nfs4", "cifs", "fuse.sshfs", "ext4", "")] == [
        True, True, True, False, False
    ]  # fmt: skip


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
    answer = run("conformance", "memory://", *only, "--report", "kit.json", code=1)
    *_, summary, badge = answer.stdout.splitlines()
    assert "2 of " in summary
    assert badge.startswith("![xqueue conformance: memory 2 of ")
    assert answer.stderr.count("passed ") == 2
    written = json.loads((place.folder / "kit.json").read_text())
    assert [one["passed"] for one in written["results"]] == [True, True]
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
        (("memory://", "--only", "A01", "--report", "no/such/kit.json"), "--report"),
    ],
)
def test_conformance_called_wrongly(place: Place, words: tuple[str, ...], says: str) -> None:
    refused("conformance", *words, code=2, says=says)
