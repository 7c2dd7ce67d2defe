"""Settings of the Redis backend: what a URL may say, and what is said about one that is wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from xqueue_core import plugins
from xqueue_core.conformance.__main__ import harness_for
from xqueue_core.errors import ConfigError
from xqueue_core.settings import Settings, backend_settings, load_settings, masked
from xqueue_redis import RedisBackend
from xqueue_redis.address import Address, Tls
from xqueue_redis.settings import RedisSettings


def settings(url: str) -> RedisSettings:
    return backend_settings(Settings(url=url), url, RedisSettings)


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://", Address()),
        ("redis://broker", Address(hosts=(("broker", 6379),))),
        ("redis://broker:7000/3", Address(hosts=(("broker", 7000),), database=3)),
        ("redis://broker?db=3", Address(hosts=(("broker", 6379),), database=3)),
        ("redis://[::1]:7000", Address(hosts=(("::1", 7000),))),
        (
            "valkey://me:p%40ss@broker",
            Address(hosts=(("broker", 6379),), username="me", password="p@ss"),
        ),
        ("rediss://broker", Address(hosts=(("broker", 6379),), tls=Tls())),
        (
            "valkeys://broker?ca_file=/ca&cert_file=/me&key_file=/key",
            Address(hosts=(("broker", 6379),), tls=Tls("/ca", "/me", "/key")),
        ),
        (
            "rediss://broker?allow=unverified-tls",
            Address(hosts=(("broker", 6379),), tls=Tls(verify=False)),
        ),
        (
            "redis+unix:///run/redis.sock?db=2",
            Address(hosts=(), socket="/run/redis.sock", database=2),
        ),
        ("redis+unix:////run/redis.sock", Address(hosts=(), socket="/run/redis.sock")),
        (
            "redis+sentinel://one,two:7000/first/2",
            Address(hosts=(("one", 26379), ("two", 7000)), primary="first", database=2),
        ),
    ],
)
def test_where_a_url_leads(url: str, address: Address) -> None:
    assert settings(url).address() == address


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("redis://broker/tasks", "must be a number"),
        ("redis://broker/3?db=2", "leave out one"),
        ("redis://one,two", "several hosts are sentinels"),
        ("redis://broker:70000", "from 1 to 65535"),
        ("redis://broker:port", "must be a number|is no host"),
        ("redis+tls://broker", "no such scheme"),
        ("redis+unix://broker/run/redis.sock", "a socket has no host"),
        ("redis+unix://", "which socket"),
        ("redis+sentinel://one", "name of the primary"),
        ("redis://broker?ca_file=/ca", "write rediss://"),
        ("rediss://broker?key_file=/key", "cert_file, which is missing"),
        ("redis://broker?allow=everything", "must be 'eviction'"),
        ("redis://broker?timeout=0", "above 0"),
        ("redis://broker?pool=3", "unknown key 'pool'"),
    ],
)
def test_a_wrong_url_says_what_is_wrong(url: str, complaint: str) -> None:
    secret = url.replace("://", "://me:hunter2@")
    with pytest.raises(ConfigError, match=complaint) as caught:
        settings(secret if "unix" not in url else url)
    assert "hunter2" not in str(caught.value)


def test_no_password_is_shown() -> None:
    own = settings("redis://me:hunter2@broker?sentinel_password=hunter2")
    for shown in (
        repr(own),
        str(own),
        repr(own.address()),
        str(own.address()),
        str(own.model_dump()),
    ):
        assert "hunter2" not in shown
    assert masked("redis://me:hunter2@broker") == "redis://me:***@broker"


def test_secrets_may_stand_apart_under_one_name_for_all_schemes(tmp_path: Path) -> None:
    environ = {"XQUEUE_REDIS__PASSWORD": "apart", "XQUEUE_URL": "rediss://me@broker"}
    app = load_settings(environ=environ, folder=tmp_path, sections={"redis", "rediss"})
    own = backend_settings(app, app.url, RedisSettings)
    assert own.address().password == "apart"
    assert own.address().tls is not None


def test_a_section_named_like_another_scheme_is_not_passed_over(tmp_path: Path) -> None:
    environ = {"XQUEUE_VALKEY__PASSWORD": "apart", "XQUEUE_URL": "valkey://broker"}
    app = load_settings(environ=environ, folder=tmp_path, sections={"redis", "valkey"})
    with pytest.raises(ConfigError, match=r"\[redis\]"):
        backend_settings(app, app.url, RedisSettings)


def test_a_section_cannot_say_where_the_server_is(tmp_path: Path) -> None:
    environ = {"XQUEUE_REDIS__SCHEME": "rediss", "XQUEUE_URL": "redis://broker"}
    app = load_settings(environ=environ, folder=tmp_path, sections={"redis"})
    with pytest.raises(ConfigError, match="rediss://broker"):
        backend_settings(app, app.url, RedisSettings)


def test_a_server_without_persistence_is_not_said_to_be_durable() -> None:
    backend = RedisBackend()
    assert backend.capabilities(settings("redis://")).durable
    assert not backend.capabilities(settings("redis://?allow=persistence")).durable
    assert backend.capabilities(settings("redis://?dedupe_horizon=60")).dedupe_horizon == 60


def test_the_kit_can_stand_in_front_of_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "load_backend", lambda name: RedisBackend())
    harness = harness_for("redis://broker:7000/2", proxy=True)
    assert harness.server == ("broker", 7000)
    moved = harness._settings("kit", {"host": "127.0.0.1", "port": 9000, "timeout": 1.0})
    assert moved.address() == Address(hosts=(("127.0.0.1", 9000),), database=2)
    assert (moved.namespace, moved.timeout) == ("kit", 1.0)
    for url in ("redis+unix:///run/redis.sock", "redis+sentinel://one/first"):
        with pytest.raises(ConfigError, match="leave out --proxy"):
            harness_for(url, proxy=True)


def test_nothing_slow_is_imported_before_it_is_opened() -> None:
    code = (
        "import sys\n"
        "from xqueue_redis import RedisBackend\n"
        "RedisBackend()\n"
        "print(*{name.partition('.')[0] for name in sys.modules} & {'redis', 'pydantic'})\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert done.stdout.split() == []
