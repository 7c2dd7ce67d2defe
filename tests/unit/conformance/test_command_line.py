"""A harness for a URL, with a proxy in front of its server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from support.socketstore.backend import SocketBackend, SocketSettings
from unit.conformance.broken import BrokenHarness
from xqueue_core.abc import Faces
from xqueue_core.calls import ALL_ABILITIES, Ability
from xqueue_core.conformance import Report, Result, run
from xqueue_core.conformance.__main__ import harness_for, main
from xqueue_core.conformance.run import try_to_open
from xqueue_core.errors import ConfigError, Unavailable


def test_a_proxy_stands_where_the_url_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xqueue_core.plugins.load_backend", lambda name: SocketBackend())
    url = "socket://localhost:1234"
    assert "proxy" not in harness_for(url).traits
    harness = harness_for(url, proxy=True)
    assert harness.server == ("localhost", 1234)
    assert "proxy" in harness.traits


class GuardedSettings(SocketSettings):
    """With a password, and without a port."""

    port: int = 0
    username: str = ""
    password: str = ""


class Guarded(SocketBackend):
    """Asks for a password."""

    Settings = GuardedSettings


def test_without_a_server_there_is_nothing_to_put_a_proxy_before(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(ConfigError, match="memory://kit: there is no server to put a proxy"):
        harness_for("memory://kit", proxy=True)
    assert main(["memory://kit", "--proxy"]) == 2
    assert "leave out --proxy" in capsys.readouterr().err


def test_a_password_is_not_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("xqueue_core.plugins.load_backend", lambda name: Guarded())
    assert main(["socket://me:secret@", "--proxy"]) == 2
    said = capsys.readouterr()
    assert "leave out --proxy" in said.err
    assert "secret" not in said.err + said.out


def test_of_a_broker_that_is_not_there_no_case_is_tried(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("xqueue_core.plugins.load_backend", lambda name: SocketBackend())
    assert main(["socket://127.0.0.1:1", "--proxy"]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert "could not be opened, so no case was tried: no connection to 127.0.0.1:1" in said.err


def test_a_folder_that_is_not_there_is_wrong_use(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sqlite:///no/such/folder/kit.db", "--only", "C21"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "there is no folder" in said.err


def test_a_file_is_no_url(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["kit.db"]) == 2
    assert "say for example sqlite:///kit.db" in capsys.readouterr().err


class Hangs(BrokenHarness):
    """Does not open at all."""

    @asynccontextmanager
    async def open(self, *_: Any) -> AsyncIterator[Faces]:
        await asyncio.Event().wait()
        yield Faces(None)  # type: ignore[arg-type]


def test_a_backend_that_does_not_open_in_time_is_told_of() -> None:
    harness = Hangs()
    harness.time_scale = 0.002
    with pytest.raises(Unavailable, match=r"does not open and close within 0\.06 s"):
        try_to_open(harness)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--json", "no/such/kit.json"], "--json: there is no folder "),
        (["--badge", "no/such/kit.json"], "--badge: there is no folder "),
        (["--at-once", "0"], "--at-once 1 to 64"),
        (["--time-scale", "0"], "--time-scale is 0.1 to 1000"),
        (["--only", "Z99"], "no such cases: Z99"),
    ],
)
def test_wrong_use_is_told_before_anything_runs(
    words: list[str], says: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main([f"sqlite:///{tmp_path}/kit.db", *words]) == 2
    said = capsys.readouterr()
    assert (said.out, said.err.startswith("error: ")) == ("", True)
    assert says in said.err


def test_what_was_asked_for_and_does_not_concern_the_backend_is_told() -> None:
    report = run(BrokenHarness(), only=["C21", "M126b"])
    assert list(report.results) == ["C21"]
    why = "M126b did not run: the harness cannot put a proxy between this backend and a server"
    assert report.partial == f"only 2 cases were asked for; {why}"
    assert run(BrokenHarness(), only=["C21"]).partial == "only one case was asked for"


def test_what_was_not_to_run_is_not_told_in_brief() -> None:
    report = run(BrokenHarness(), only=["C21"])
    first = [line.partition(" ")[0] for line in report.text(brief=True).splitlines()]
    assert first == ["PARTIAL:", report.backend]
    assert "left out C35" in report.text()
    assert "left out C35" not in report.text(brief=True)


def test_the_time_that_is_told_is_that_on_the_wall() -> None:
    report = run(BrokenHarness(), only=["C21", "C22"], at_once=2)
    assert report.seconds is not None
    assert report.summary().endswith(f", {report.seconds:.1f} s")
    assert report.data()["seconds"] == report.seconds


def test_what_a_backend_lacks_is_told_once_with_all_its_cases() -> None:
    report = run(BrokenHarness(abilities=ALL_ABILITIES - {Ability.PRIORITY}), only=["C21"])
    why = "not chosen, as the backend does not claim PRIORITY: "
    [told] = [line for line in report.text().splitlines() if line.startswith(why)]
    assert {"G76", "G77", "P2.3a"} <= set(told.removeprefix(why).split(", "))


def test_what_may_have_been_late_is_to_be_run_alone() -> None:
    report = Report("slow", "asyncio", ["C21", "C22"], {})
    report.add(Result("C21", True, 0.1))
    assert report.advice() == ""
    report.add(Result("C22", False, 0.1))
    assert "`--only C22` runs a case alone" in report.advice()
