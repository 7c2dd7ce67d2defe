"""`xqueue config`, and what is told of sections that do nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from support.cli import Place, data, lines, refused, run


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


def test_config_shows_the_defaults_of_sections_in_use(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XQUEUE_PLUGINS", "prometheus")
    monkeypatch.setenv("XQUEUE_PROMETHEUS__PORT", "0")
    monkeypatch.setenv("XQUEUE_DURABILITY", "power")
    file = place.folder / "xqueue.toml"
    file.write_text("[sqlite]\nbusy_timeout = 3\n[memory]\nclient_retry = 7\n")
    answer = run("config", "--json")
    settings = json.loads(answer.stdout)["settings"]
    found = {one["name"]: (one["value"], one["origin"]) for one in settings}
    assert found["sqlite.busy_timeout"] == ("3.0", str(file))
    assert found["sqlite.make"] == ("True", "default")
    assert found["sqlite.path"] == ("'xqueue.db'", "default")
    # What the app says holds for its broker.
    assert found["sqlite.durability"] == ("'power'", "environment variable XQUEUE_DURABILITY")
    assert found["prometheus.port"] == ("0", "environment variable XQUEUE_PROMETHEUS__PORT")
    assert found["prometheus.ports"] == ("none", "default")
    assert found["prometheus.buckets"][0].startswith("[0.005, 0.01, ")
    assert found["memory.client_retry"] == ("7", f"{file} (not in use)")
    assert "memory.host" not in found
    assert answer.stderr == ""
    said = {row.split()[0] for row in lines("config", "--set", "--url", "sqlite:///x.db")}
    assert {"sqlite.path", "sqlite.busy_timeout", "prometheus.port", "url"} <= said
    assert "sqlite.make" not in said


def test_config_where_a_section_is_wrong_shows_what_was_said(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XQUEUE_PLUGINS", "prometheus")
    (place.folder / "xqueue.toml").write_text("[prometheus]\nport = -1\n[sqlite]\nmkae = 1\n")
    answer = run("config", "--json")
    found = {one["name"]: one["value"] for one in json.loads(answer.stdout)["settings"]}
    assert (found["prometheus.port"], found["sqlite.mkae"]) == ("-1", "1")
    assert "Warning: prometheus.port = -1 (" in answer.stderr
    assert "did you mean 'make'" in answer.stderr
    assert "not in use" not in answer.stdout


UNUSED = "the section [prometheus] ({}) does nothing, for the plugin is not in use"


def test_a_section_of_a_plugin_that_is_not_in_use_is_told(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = place.folder / "xqueue.toml"
    file.write_text("plugins = ['opentelemetry']\n[prometheus]\nport = 9000\n[memory]\n")
    text, line = UNUSED.format(file), 'add `plugins = ["opentelemetry", "prometheus"]`'
    answer = run("config")
    assert f"Warning: {text}: {line} above all sections" in answer.stderr
    assert "prometheus.port" in answer.stdout
    assert "(not in use)" in answer.stdout
    checks = [one for one in data("doctor")["checks"] if one["check"] == "plugins"]
    [note] = [one for one in checks if one["verdict"] == "note"]
    assert (note["detail"], note["advice"].startswith(line)) == (text, True)
    file.write_text("")
    monkeypatch.setenv("XQUEUE_PROMETHEUS__PORT", "9000")
    origin = "environment variable XQUEUE_PROMETHEUS__PORT"
    assert f"Warning: {UNUSED.format(origin)}: add" in run("config").stderr
    assert "or set XQUEUE_PLUGINS=prometheus" in run("config").stderr
    monkeypatch.setenv("XQUEUE_PLUGINS", "prometheus")
    assert run("config").stderr == ""


@pytest.mark.parametrize("processes", ["1", "2"])
def test_a_worker_tells_it_once_however_many_processes_there_are(
    place: Place, processes: str
) -> None:
    place.submit("greet", name="you")
    (place.folder / "xqueue.toml").write_text("[prometheus]\nport = 9000\n")
    command = [sys.executable, "-m", "xqueue_core.cli", "worker", "jobs.py", "--burst"]
    done = subprocess.run(
        [*command, "--processes", processes],
        cwd=place.folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr.count("does nothing, for the plugin is not in use: add") == 1, done.stderr


def test_config_that_is_wrong(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    refused("config", "--nonsense", code=2, says="No such option")
    monkeypatch.setenv("XQUEUE_GRACE", "soon")
    refused("config", code=2, says="grace = 'soon' (environment variable XQUEUE_GRACE)")


def test_a_file_that_the_section_names_is_refused_and_not_ignored(place: Place) -> None:
    (place.folder / "xqueue.toml").write_text('[sqlite]\npath = "/x/y.db"\n')
    line = 'url = "sqlite:////x/y.db"'
    answer = run("config", "--set")
    assert line in answer.stderr
    assert "sqlite.path" in answer.stdout
    refused("stats", code=2, says=line)
    assert not list(place.folder.glob("*.db*"))
