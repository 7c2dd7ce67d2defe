"""What the benchmarks ask of a Redis server, and when they leave one alone."""

from __future__ import annotations

from typing import Any, cast

import pytest
import redis

from benchmarks.on_redis import server
from benchmarks.on_redis.server import Server


class Answers:
    """A client whose server gives these answers."""

    def __init__(self, keys: int = 0, **info: object) -> None:
        self.keys = keys
        self.sections = info
        self.emptied = 0

    def info(self, section: str) -> object:
        return self.sections[section]

    def dbsize(self) -> int:
        return self.keys

    def flushdb(self) -> None:
        self.emptied += 1

    def __enter__(self) -> Answers:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def found(client: Answers, url: str = "redis://host/0") -> Server:
    return Server(url, cast("redis.Redis", client), "none")


@pytest.mark.parametrize(
    ("aof", "url", "asked"),
    [
        (1, "redis://host/0", "redis://host/0"),
        (0, "redis://host/0", "redis://host/0?allow=persistence"),
        (0, "redis://host/0?db=1", "redis://host/0?db=1&allow=persistence"),
    ],
)
def test_a_server_that_keeps_nothing_is_allowed_by_name(aof: int, url: str, asked: str) -> None:
    assert found(Answers(persistence={"aof_enabled": aof}), url).queue_url() == asked


def test_cpu_is_the_servers_own_and_the_kernels() -> None:
    assert found(Answers(cpu={"used_cpu_user": 1.5, "used_cpu_sys": "0.5"})).cpu() == 2.0


def test_a_database_with_data_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    client: Any = Answers(keys=3)
    monkeypatch.setattr(redis.Redis, "from_url", lambda _: client)
    with (
        pytest.raises(SystemExit, match="redis://host/0 holds 3 keys"),
        server.server("redis://host/0", "as given"),
    ):
        pass
    assert client.emptied == 0


def test_a_given_empty_database_is_emptied_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    client: Any = Answers()
    monkeypatch.setattr(redis.Redis, "from_url", lambda _: client)
    with server.server("redis://host/0", "as given") as one:
        assert (one.url, one.persistence, client.emptied) == ("redis://host/0", "as given", 0)
    assert client.emptied == 1


def test_without_a_server_there_is_a_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with (
        pytest.raises(SystemExit, match="--url redis://"),
        server.server(None, "none"),
    ):
        pass


def test_a_kind_that_there_is_not_says_which_there_are() -> None:
    with (
        pytest.raises(SystemExit, match="redis7"),
        server.server(None, "none", "redis1"),
    ):
        pass
