"""Commands on a server of Redis: what is there, what is not, and what to do about it."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator

import pytest

import services
from support.cli import Place, data, refused, run


@pytest.fixture(scope="module")
def server() -> Iterator[services.Server]:
    with services.redis("redis7", aof=True) as server:
        yield server


@pytest.fixture
def url(
    server: services.Server, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> str:
    """The server's; what is settings' is a namespace of the test's own."""
    name = request.node.name.removeprefix("test_").replace("_", "-")
    monkeypatch.setenv("XQUEUE_NAMESPACE", name[:32])
    return server.url


@pytest.fixture
def nobody() -> Iterator[str]:
    """The URL of a port at which nobody listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"redis://127.0.0.1:{bound.getsockname()[1]}"


def checks(url: str, code: int) -> dict[str, tuple[str, str]]:
    """What ``doctor`` says of each check: the verdict, and all the text."""
    found = data("doctor", "--url", url, code=code)["checks"]
    return {one["check"]: (one["verdict"], f"{one['detail']}: {one['advice']}") for one in found}


def test_a_submit_says_that_it_began_the_namespace(place: Place, url: str) -> None:
    words = ("submit", "greet", "name=you", "--app", "jobs.py", "--url", url)
    began = "began the namespace 'a-submit-says-that-it-began-the-'"
    assert run(*words).stderr == f"Warning: {began} on {url}; no worker is known there\n"
    assert run(*words).stderr == ""
    types = data("stats", "--url", url)["lanes"]["greet"]["types"]
    assert types["greet"]["pending"] == 2


def test_a_command_that_only_looks_begins_none(place: Place, url: str) -> None:
    for _ in range(2):
        refused("stats", "--url", url, code=3, says="the first submit or worker begins it")


def test_doctor_takes_a_namespace_that_is_not_there_yet_for_no_fault(
    place: Place, url: str
) -> None:
    found = checks(url, 0)
    assert found["namespace"][0] == found["connection"][0] == "note"
    run("submit", "greet", "name=you", "--app", "jobs.py", "--url", url)
    found = checks(url, 0)
    noted = {one: text for one, (verdict, text) in found.items() if verdict != "ok"}
    assert set(noted) == {"workers", "lanes"}, noted
    assert found["persistence"][1].startswith("append-only file")


def test_doctor_says_what_the_server_lacks(place: Place, server: services.Server) -> None:
    with services.redis("redis7") as forgetful:
        verdict, text = checks(forgetful.url, 1)["persistence"]
    assert verdict == "wrong"
    assert "the end of the server loses all tasks" in text
    assert "appendonly yes" in text


def test_doctor_asks_of_the_server_what_the_app_wants(
    place: Place, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    verdict, text = checks(url, 0)["fsync"]
    assert verdict == "ok"
    assert "everysec, enough for durability 'process' unless" in text
    monkeypatch.setenv("XQUEUE_DURABILITY", "power")
    verdict, text = checks(url, 1)["fsync"]
    assert verdict == "wrong"
    assert "durability is 'power', appendfsync everysec" in text


def test_doctor_on_a_server_that_is_not_there(place: Place, nobody: str) -> None:
    [found] = [
        one
        for one in data("doctor", "--url", nobody, code=1)["checks"]
        if one["verdict"] == "wrong"
    ]
    assert found["check"] == "server"
    assert f"Redis at {nobody.removeprefix('redis://')}: " in found["detail"]
    advice = "Nothing was sent: see that the server runs and can be reached from here"
    assert found["advice"] == advice


def test_a_worker_without_a_server_ends_and_says_why(place: Place, nobody: str) -> None:
    where = nobody.removeprefix("redis://")
    refused("worker", "jobs.py", "--url", nobody, code=69, says=f"Redis at {where}: ")


def test_a_submit_without_a_server_says_that_nothing_was_submitted(
    place: Place, nobody: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xqueue_core.cli.opening.DEADLINE", 0.5)
    words = ("submit", "greet", "name=you", "--app", "jobs.py", "--url", nobody)
    refused(*words, code=1, says="nothing was submitted)")


def test_config_shows_where_the_server_is_and_hides_the_password(place: Place) -> None:
    text = run("config", "--url", "rediss://ann:secret@broker:7000/3").stdout
    assert "secret" not in text
    for name, value in (("hosts", "['broker:7000']"), ("place", "'3'"), ("password", "***")):
        assert f"redis.{name} {value} URL rediss://ann:***" in " ".join(text.split())


@pytest.mark.parametrize("scheme", ["redis", "rediss", "valkey"])
def test_plugins_shows_which_name_is_used(
    place: Place, scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XQUEUE_URL", f"{scheme}://broker")
    found = data("plugins", "--check")["plugins"]
    backends = [one for one in found if one["group"] == "xqueue.backends"]
    assert [one["name"] for one in backends if one["used"]] == [scheme]
    assert {one["problem"] for one in backends} <= {None, ""}


@pytest.mark.parametrize("scheme", ["redis", "rediss", "valkey", "redis+sentinel"])
def test_without_its_client_it_says_how_to_get_it(
    place: Place, scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "redis.asyncio", None)  # as if it were not installed
    for words in (("worker", "jobs.py"), ("submit", "greet", "name=you", "--app", "jobs.py")):
        says = "pip install 'xqueue-core[redis]'"
        refused(*words, "--url", f"{scheme}://broker/first", code=2, says=says)
