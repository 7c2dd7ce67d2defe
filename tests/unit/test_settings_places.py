"""Where a broker is, its URL says alone: anything else is an error that names the URL to write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, SecretStr

from support.settings_files import Files
from xqueue_core.errors import ConfigError
from xqueue_core.settings import Settings, SettingsWarning, backend_name, backend_settings


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


class Redis(BaseModel):
    host: str = "localhost"
    port: int = 6379
    username: str | None = None
    password: SecretStr | None = None
    path: str = ""


class Sqlite(BaseModel):
    path: str = "xqueue.db"
    busy_timeout: float = 5.0


class Kafka(BaseModel):
    hosts: list[str] = []


@pytest.mark.parametrize(
    ("url", "said", "line"),
    [
        ("sqlite:///xqueue.db", {"path": "/x/y.db"}, 'url = "sqlite:////x/y.db"'),
        (
            "sqlite:///a.db?busy_timeout=2",
            {"path": "b #.db"},
            '"sqlite:///b%20%23.db?busy_timeout=2"',
        ),
        ("sqlite://", {"path": "b.db"}, 'url = "sqlite:///b.db"'),
        ("redis://", {"port": 7}, 'url = "redis://localhost:7"'),
        ("redis://me:pw@h:1/0", {"host": "other"}, 'url = "redis://me:***@other:1/0"'),
        ("redis://h", {"host": "::1", "port": 7, "path": "2"}, 'url = "redis://[::1]:7/2"'),
        ("redis://[::1]", {"port": 7}, 'url = "redis://[::1]:7"'),
        ("kafka://a:1", {"hosts": ["b:1", "c:2"]}, 'url = "kafka://b:1,c:2"'),
        ("kafka://a:1", {"hosts": "b:1,c:2"}, 'url = "kafka://b:1,c:2"'),
    ],
)
def test_where_a_broker_is_the_url_says_alone(url: str, said: dict[str, Any], line: str) -> None:
    models: dict[str, type[BaseModel]] = {"sqlite": Sqlite, "redis": Redis, "kafka": Kafka}
    name = backend_name(url)
    with pytest.raises(ConfigError) as caught:
        backend_settings(Settings(url=url, sections={name: said}), url, models[name])
    assert f"{name}.{next(iter(said))} = " in str(caught.value)
    assert "(keyword argument)" in str(caught.value)
    assert line in str(caught.value)


def test_it_names_the_source_and_the_url_that_is_meant(files: Files) -> None:
    settings = files.load(
        {"semaphore_url": "redis://h"},
        env={"XQUEUE_REDIS__PORT": "7", "XQUEUE_SQLITE__PATH": "b.db"},
    )
    with pytest.raises(ConfigError, match=r"variable XQUEUE_REDIS__PORT\).*`semaphore_url = \""):
        backend_settings(settings, "redis://h", Redis)
    with pytest.raises(ConfigError, match=r"variable XQUEUE_SQLITE__PATH\).*`url = \"sqlite:///b"):
        backend_settings(settings, settings.url, Sqlite)


def test_a_variable_that_the_backend_has_no_setting_for_is_ignored_as_ever(files: Files) -> None:
    settings = files.load(env={"XQUEUE_SQLITE__PORT": "7"})
    with pytest.warns(SettingsWarning, match="XQUEUE_SQLITE__PORT is not a setting of 'sqlite'"):
        assert backend_settings(settings, settings.url, Sqlite).path == "xqueue.db"


def test_a_plugin_has_no_url_so_its_section_says_all() -> None:
    settings = Settings(sections={"redis": {"port": 7, "host": "h"}})
    assert backend_settings(settings, "", Redis, section="redis").port == 7


def test_user_and_password_may_stand_apart(files: Files) -> None:
    settings = files.load(env={"XQUEUE_REDIS__USERNAME": "me", "XQUEUE_REDIS__PASSWORD": "pw"})
    redis = backend_settings(settings, "redis://h", Redis)
    assert (redis.username, redis.password) == ("me", SecretStr("pw"))
