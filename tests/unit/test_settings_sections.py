"""A backend's own settings, from URL and section; and that no secret is ever shown."""

from __future__ import annotations

import traceback
from datetime import timedelta
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from support.settings_files import Files
from xqueue_core.errors import ConfigError, UnknownSetting
from xqueue_core.settings import (
    Settings,
    SettingsWarning,
    backend_name,
    backend_settings,
    explain,
    explain_section,
    masked,
)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


class Tls(BaseModel):
    model_config = ConfigDict(extra="forbid")
    ca: str = ""
    verify: bool = True


class Redis(BaseModel):
    """Stands for a backend with every kind of setting."""

    host: str = "localhost"
    port: int = 6379
    username: str | None = None
    password: SecretStr | None = None
    path: str = ""
    pool: int = Field(4, ge=1, description="Connections: 1 or more.")
    tags: list[str] = []
    weights: dict[str, int] = {}
    tls: Tls = Tls()


class Sqlite(BaseModel):
    path: str = "xqueue.db"
    busy_timeout: float = 5.0


class Kafka(BaseModel):
    hosts: list[str] = []


# -- a backend's own settings ----------------------------------------------------------------


def test_backend_name() -> None:
    assert backend_name("sqlite:///x.db") == "sqlite"
    assert backend_name("redis+tls://h") == "redis"


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite://", "xqueue.db"),
        ("sqlite:///", "xqueue.db"),
        ("sqlite:///a/b.db", "a/b.db"),
        ("sqlite:////var/b.db", "/var/b.db"),
        ("sqlite:///a%20b%23%3F.db", "a b#?.db"),
    ],
)
def test_a_path_in_the_url(url: str, path: str) -> None:
    assert backend_settings(Settings(), url, Sqlite).path == path


def test_all_parts_of_a_url() -> None:
    url = "redis://me:p%40ss@Redis.Example:7000/2?pool=8&tags=a,b"
    redis = backend_settings(Settings(), url, Redis)
    assert (redis.host, redis.port, redis.path) == ("Redis.Example", 7000, "2")
    assert (redis.username, redis.pool, redis.tags) == ("me", 8, ["a", "b"])
    assert redis.password == SecretStr("p@ss")
    assert backend_settings(Settings(), "redis://[::1]:7", Redis).host == "::1"
    assert backend_settings(Settings(), "redis://[::1]", Redis).port == 6379
    kafka = backend_settings(Settings(), "kafka://a:1,b:2", Kafka)
    assert kafka.hosts == ["a:1", "b:2"]


def test_the_url_stands_above_the_section(files: Files) -> None:
    settings = files.load({"sqlite": {"busy_timeout": 1}})
    own = backend_settings(settings, "sqlite:///url.db", Sqlite)
    assert (own.path, own.busy_timeout) == ("url.db", 1.0)
    assert backend_settings(settings, "sqlite://?busy_timeout=2", Sqlite).busy_timeout == 2.0


def test_sections_given_by_keyword_alone() -> None:
    settings = Settings(sections={"sqlite": {"busy_timeout": 2}})
    assert backend_settings(settings, settings.url, Sqlite).busy_timeout == 2.0


def test_another_section() -> None:
    settings = Settings(sections={"redis": {"pool": 2}})
    assert backend_settings(settings, "rediss://h", Redis, section="redis").pool == 2


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("sqlite://xqueue.db", r"takes no host in its URL; did you mean sqlite:///xqueue\.db"),
        ("sqlite://h/x.db", r"takes no host in its URL$"),
        ("sqlite://u:p@/x.db", r"takes no password"),
        ("kafka://a:1/topic", r"takes no path"),
        ("redis://h:x", r"port must be a number"),
        ("redis://h:99999999999999999999x/", r"port must be a number"),
        ("redis://h/0#frag", r"write # as %23"),
        ("redis://h?pool=1&pool=2", r"'pool' is given twice"),
        ("redis://h?pool=0", r"redis\.pool = '0' \(URL redis://h\?pool=0\).*1 or more"),
    ],
)
def test_a_url_that_says_what_the_backend_cannot_take(url: str, complaint: str) -> None:
    models: dict[str, type[BaseModel]] = {"sqlite": Sqlite, "redis": Redis, "kafka": Kafka}
    with pytest.raises(ConfigError, match=complaint):
        backend_settings(Settings(), url, models[backend_name(url)])


def test_an_unknown_key_in_the_query() -> None:
    with pytest.raises(UnknownSetting, match="'bussy_timeout'; did you mean 'busy_timeout'"):
        backend_settings(Settings(), "sqlite:///x.db?bussy_timeout=3", Sqlite)


def test_an_unknown_key_in_a_section(files: Files) -> None:
    settings = files.load(toml="[redis]\npol = 1\n[redis.tls]\nverfy = true")
    with pytest.raises(UnknownSetting) as caught:
        backend_settings(settings, "redis://", Redis)
    text = str(caught.value)
    assert "'redis.pol'" in text
    assert "did you mean 'pool'" in text
    assert "'redis.tls.verfy'" in text
    assert str(files.folder / "xqueue.toml") in text


def test_an_unknown_variable_of_a_section_is_a_warning(files: Files) -> None:
    settings = files.load(
        env={
            "XQUEUE_REDIS__POL": "1",
            "XQUEUE_REDIS__TLS__VERFY": "1",
            "XQUEUE_REDIS__USERNAME": "a",
        }
    )
    with pytest.warns(SettingsWarning) as caught:
        assert backend_settings(settings, "redis://", Redis).username == "a"
    texts = [str(one.message) for one in caught]
    assert any("XQUEUE_REDIS__POL " in one and "mean XQUEUE_REDIS__POOL?" in one for one in texts)
    assert any(one.endswith("did you mean XQUEUE_REDIS__TLS__VERIFY?") for one in texts)


def test_text_from_the_environment_may_be_a_list_or_a_table(files: Files) -> None:
    env = {"XQUEUE_REDIS__TAGS": '["a", "b,c"]', "XQUEUE_REDIS__WEIGHTS": '{"a": 1}'}
    redis = backend_settings(files.load(env=env), "redis://", Redis)
    assert (redis.tags, redis.weights) == (["a", "b,c"], {"a": 1})
    settings = files.load(env={"XQUEUE_REDIS__TAGS": "a, b", "XQUEUE_REDIS__WEIGHTS__B": "2"})
    redis = backend_settings(settings, "redis://", Redis)
    assert (redis.tags, redis.weights) == (["a", "b"], {"b": 2})
    settings = files.load(env={"XQUEUE_REDIS__WEIGHTS": "heavy"})
    with pytest.raises(ConfigError, match=r"redis\.weights = 'heavy'"):
        backend_settings(settings, "redis://", Redis)


def test_a_password_that_looks_like_json_stays_as_it_is(files: Files) -> None:
    settings = files.load(env={"XQUEUE_REDIS__PASSWORD": "[1]"})
    assert backend_settings(settings, "redis://", Redis).password == SecretStr("[1]")


def test_keys_of_a_section_are_merged_one_by_one(files: Files) -> None:
    settings = files.load(
        {"redis": {"tls": {"verify": False}}},
        toml='[redis]\npool = 2\nusername = "a"\n[redis.tls]\nca = "a.pem"\nverify = true',
        env={"XQUEUE_REDIS__USERNAME": "b"},
    )
    redis = backend_settings(settings, "redis://", Redis)
    assert (redis.pool, redis.username, redis.tls) == (2, "b", Tls(ca="a.pem", verify=False))
    assert settings.origin["redis.username"] == "environment variable XQUEUE_REDIS__USERNAME"
    assert settings.origin["redis.tls.ca"] == str(files.folder / "xqueue.toml")
    assert settings.origin["redis.tls.verify"] == "keyword argument"


# -- secrets ---------------------------------------------------------------------------------


class Strict(BaseModel):
    """Refuses whatever it is given, so that errors would show the value."""

    password: int = 0
    pin: SecretStr = Field(SecretStr(""), max_length=1)
    options: dict[str, int] = {}


SECRET = "hunter2"


def everything(error: BaseException) -> str:
    chain: list[Any] = [error, error.__cause__, error.__context__]
    return "".join(traceback.format_exception(error)) + "".join(map(repr, chain))


@pytest.mark.parametrize(
    "said", [{"password": SECRET}, {"pin": SECRET}, {"options": {"api_key": SECRET}}]
)
def test_errors_show_no_secret(files: Files, said: dict[str, object]) -> None:
    settings = files.load({"sqlite": said})
    with pytest.raises(ConfigError) as caught:
        backend_settings(settings, "sqlite://", Strict)
    assert SECRET not in everything(caught.value)
    assert "keyword argument" in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        f"redis://me:{SECRET}@host:1/0",
        f"redis://:{SECRET}@host?pool=0",
        f"redis://:a/b#{SECRET}@host",
        f"redis://host?password={SECRET}&pool=0",
        f"redis://host?api_key={SECRET}&pool=0",
    ],
)
def test_a_url_is_shown_without_its_secrets(url: str) -> None:
    assert SECRET not in masked(url)
    assert "host" in masked(url)
    settings = Settings(url=url)
    assert SECRET not in repr(settings) + str(settings) + str(explain(settings))
    with pytest.raises(ConfigError) as caught:
        backend_settings(settings, url, Sqlite)
    assert SECRET not in everything(caught.value)


def test_a_wrong_url_shows_no_secret(files: Files) -> None:
    with pytest.raises(ConfigError) as caught:
        files.load({"url": f"REDIS://me:{SECRET}@host"})
    assert SECRET not in everything(caught.value)


def test_explain_hides_secrets_of_sections(files: Files) -> None:
    settings = files.load(
        {"redis": {"password": SECRET, "pool": 3}}, env={"XQUEUE_REDIS__TLS__KEY": SECRET}
    )
    lines = {line.name: line for line in explain(settings)}
    assert lines["redis.password"] == ("redis.password", "***", "keyword argument")
    assert lines["redis.pool"].value == "3"
    assert lines["redis.tls.key"].value == "***"
    assert lines["url"] == ("url", "'sqlite:///xqueue.db'", "default")
    assert lines["semaphore_url"].value == "none"
    assert SECRET not in repr(settings)


@pytest.mark.parametrize(
    ("url", "seen"),
    [
        ("redis:/user:hunter2@host/0", "redis:***@host/0"),
        ("user:hunter2@host:6379", "user:***@host:6379"),
        ("fooq://user:hunter2/host", "fooq://user:***/host"),
        ("fooq://h?pwd=hunter2&auth=hunter2&x=1", "fooq://h?pwd=***&auth=***&x=1"),
        ("fooq://h?apikey=hunter2", "fooq://h?apikey=***"),
        ("fooq://h?api_key=hunter2&sig=hunter2", "fooq://h?api_key=***&sig=***"),
        ("kafka://h?sasl_jaas_config=hunter2", "kafka://h?sasl_jaas_config=***"),
        ("fooq://h?dsn=hunter2", "fooq://h?dsn=***"),
    ],
)
def test_masked_hides_rather_too_much(url: str, seen: str) -> None:
    assert masked(url) == seen


@pytest.mark.parametrize(
    "url",
    [
        "kafka://h1:9092,h2:9092/prefix?acks=all",
        "redis://[::1]:6379/0",
        "redis://h:6379",
        "me@host",
        "10:30",
        "fooq://h?author=x&signal=2",
    ],
)
def test_masked_leaves_what_is_no_secret(url: str) -> None:
    assert masked(url) == url


def test_explain_hides_what_the_sections_model_calls_a_secret(files: Files) -> None:
    class Own(BaseModel):
        pin: SecretStr = SecretStr("")
        more: dict[str, SecretStr] = {}
        plain: str = ""

    settings = files.load({"redis": {"pin": SECRET, "plain": "seen", "more": {"a": SECRET}}})
    lines = {one.name: one.value for one in explain(settings, {"redis": Own}.get)}
    assert (lines["redis.pin"], lines["redis.more.a"]) == ("***", "***")
    assert lines["redis.plain"] == "'seen'"


class Mode(Enum):
    FAST = "fast"


def test_explain_section_tells_every_value_and_where_it_is_from(files: Files) -> None:
    class Own(BaseModel):
        model_config = ConfigDict(extra="forbid")
        host: str = "localhost"
        pin: SecretStr | None = None
        code: SecretStr | None = None
        tls: Tls = Tls()
        weights: dict[str, int] = {}
        mode: Mode = Mode.FAST
        folder: Path = Path("/tmp")
        every: timedelta = timedelta(minutes=1)
        pool: int = Field(default=4, alias="pool_size")
        lease: float = 1.0

    url = "redis://h?mode=fast"
    settings = files.load(
        {"redis": {"pin": SECRET, "pool_size": 3, "weights": {"a": 1}}, "url": url, "lease": 20},
        env={"XQUEUE_REDIS__TLS": '{"ca": "x"}'},
    )
    own = backend_settings(settings, url, Own).model_copy(update={"lease": 20.0})
    lines = explain_section(settings, own, "redis", "url", ("lease",))
    assert {name.removeprefix("redis."): rest for name, *rest in lines} == {
        "host": ["'h'", "URL redis://h?mode=fast"],
        "pin": ["***", "keyword argument"],
        "code": ["none", "default"],
        "tls.ca": ["'x'", "environment variable XQUEUE_REDIS__TLS"],
        "tls.verify": ["True", "environment variable XQUEUE_REDIS__TLS"],
        "weights.a": ["1", "keyword argument"],
        "mode": ["'fast'", "URL redis://h?mode=fast"],
        "folder": ["'/tmp'", "default"],
        "every": ["60.0", "default"],
        "pool": ["3", "keyword argument"],
        "lease": ["20.0", "keyword argument"],
    }
    assert SECRET not in str(lines)


def test_what_a_default_url_says_is_a_default(files: Files) -> None:
    settings = files.load()
    own = backend_settings(settings, settings.url, Sqlite)
    assert set(explain_section(settings, own, "sqlite", "url")) == {
        ("sqlite.path", "'xqueue.db'", "default"),
        ("sqlite.busy_timeout", "5.0", "default"),
    }


def test_masked_leaves_the_rest() -> None:
    assert masked("redis://me:pw@h:1/0?pool=2") == "redis://me:***@h:1/0?pool=2"
    assert masked("sqlite:///a.db") == "sqlite:///a.db"
    assert masked("plain text") == "plain text"
