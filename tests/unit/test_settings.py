"""Settings: their sources, their order, what is refused, and that no secret is shown."""

from __future__ import annotations

import copy
import warnings
from pathlib import Path

import pytest
from pydantic import ValidationError

from support.settings_files import Files
from xqueue_core.errors import ConfigError, UnknownSetting
from xqueue_core.settings import (
    Settings,
    SettingsWarning,
    load_settings,
)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


# -- order of the sources --------------------------------------------------------------------


def test_defaults(files: Files) -> None:
    settings = files.load()
    assert settings.url == "sqlite:///xqueue.db"
    assert (settings.semaphore_url, settings.notifier_url, settings.view_url) == (None, None, None)
    assert (settings.namespace, settings.durability) == ("xqueue", "process")
    assert (settings.concurrency, settings.threads, settings.processes) == (100, 32, 1)
    assert (settings.grace, settings.lease, settings.lease_wait) == (30.0, 15.0, 5.0)
    assert (settings.event_retention, settings.dedupe_horizon) == (86_400.0, 86_400.0)
    assert settings.max_payload == 512 * 1024
    assert (settings.lanes, settings.types, settings.app) == (None, None, None)
    assert set(settings.origin.values()) == {"default"}


def test_each_source_stands_above_the_one_before(files: Files) -> None:
    toml = "threads = 1\nprocesses = 1\nconcurrency = 1\ngrace = 1\nlease_wait = 1"
    dotenv = "XQUEUE_PROCESSES=2\nXQUEUE_CONCURRENCY=2\nXQUEUE_GRACE=2\nXQUEUE_LEASE_WAIT=2"
    env = {"XQUEUE_CONCURRENCY": "3", "XQUEUE_GRACE": "3", "XQUEUE_LEASE_WAIT": "3"}
    settings = files.load(
        {"grace": 4, "lease_wait": 4}, toml=toml, dotenv=dotenv, env=env, cli={"lease_wait": 5}
    )
    values = (settings.threads, settings.processes, settings.concurrency)
    assert values == (1, 2, 3)
    assert (settings.grace, settings.lease_wait) == (4.0, 5.0)
    origin = settings.origin
    assert origin["threads"] == str(files.folder / "xqueue.toml")
    assert origin["processes"] == f"{files.folder / '.env'}: XQUEUE_PROCESSES"
    assert origin["concurrency"] == "environment variable XQUEUE_CONCURRENCY"
    assert (origin["grace"], origin["lease_wait"]) == ("keyword argument", "command line")
    assert origin["namespace"] == "default"


def test_a_later_value_replaces_a_table_and_the_other_way_round(files: Files) -> None:
    table = {"redis": {"weights": {"a": 1}}}
    assert files.load(table, cli={"redis": {"weights": "x"}}).sections["redis"] == {"weights": "x"}
    text = {"redis": {"weights": "x"}}
    assert files.load(text, cli=table).sections["redis"] == {"weights": {"a": 1}}


def test_none_means_not_given(files: Files) -> None:
    assert files.load({"threads": None}, toml="threads = 5").threads == 5


def test_lists_may_be_separated_by_commas(files: Files) -> None:
    settings = files.load(toml='types = ["a", "b"]', env={"XQUEUE_LANES": "mail, thumbnail,"})
    assert (settings.lanes, settings.types) == (("mail", "thumbnail"), ("a", "b"))


def test_an_empty_variable_is_the_same_as_none(files: Files) -> None:
    assert files.load(env={"XQUEUE_URL": "", "XQUEUE_NONSENSE": ""}).url == "sqlite:///xqueue.db"


def test_dotenv_may_hold_what_is_not_ours(files: Files) -> None:
    assert files.load(dotenv="SECRET_KEY=x\nexport XQUEUE_THREADS='6' # six").threads == 6


def test_nothing_but_keywords_is_read_without_the_loader(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XQUEUE_THREADS", "7")
    monkeypatch.setenv("THREADS", "8")
    monkeypatch.chdir(tmp_path)
    Path("xqueue.toml").write_text("threads = 9")
    assert Settings(grace=1).threads == 32
    assert Settings(grace=1).origin["grace"] == "keyword argument"
    assert load_settings().threads == 7


def test_worked_out_defaults() -> None:
    settings = Settings()
    assert (settings.heartbeat_interval, settings.lease_margin) == (1.0, 3.0)
    assert settings.prefetch_slots == 25
    quick = Settings(lease=1.0, prefetch=0)
    assert (quick.heartbeat_interval, quick.prefetch_slots) == (0.2, 0)
    assert Settings(heartbeat=2.0).heartbeat_interval == 2.0


def test_settings_are_immutable_and_copies_know_where_values_came_from(files: Files) -> None:
    settings = files.load({"threads": 3, "sqlite": {"busy_timeout": 1}})
    with pytest.raises(ValidationError):
        settings.threads = 4
    other = copy.deepcopy(settings)
    assert other == settings
    assert other.origin == settings.origin


# -- unknown names ---------------------------------------------------------------------------


def test_an_unknown_key_in_the_file_names_file_and_nearest_key(files: Files) -> None:
    with pytest.raises(UnknownSetting) as caught:
        files.load(toml="concurency = 5")
    text = str(caught.value)
    assert "'concurency'" in text
    assert str(files.folder / "xqueue.toml") in text
    assert "did you mean 'concurrency'" in text


@pytest.mark.parametrize("source", ["keyword", "cli"])
def test_an_unknown_keyword_is_an_error(files: Files, source: str) -> None:
    wrong = {"thread": 5, "sqlight": {"path": "x"}}
    word = "keyword argument" if source == "keyword" else "command line"
    with pytest.raises(UnknownSetting) as caught:
        files.load(wrong) if source == "keyword" else files.load(cli=wrong)
    text = str(caught.value)
    assert f"unknown setting 'thread' ({word}); did you mean 'threads'?" in text
    assert f"unknown section 'sqlight' ({word})" in text
    assert "did you mean 'sqlite'?" in text


@pytest.mark.parametrize(
    ("toml", "words"),
    [
        ("[xqueue.redis]\nport = 1", r"write \[redis\] for \[xqueue.redis\]$"),
        ("[xqueue]\nlease = 5", "write XQueue's own settings at the top of the file"),
        ("[xqueue]\nlease = 5\n[xqueue.redis]\n", r"for \[xqueue.redis\], and XQueue's own"),
        ("[xqueue]\nnothing = 5", "unknown section 'xqueue' .*no plugin of this name"),
    ],
)
def test_sections_within_one_of_the_products_name(files: Files, toml: str, words: str) -> None:
    with pytest.raises(UnknownSetting, match=words):
        files.load(toml=toml)


def test_a_section_is_not_within_plugins(files: Files) -> None:
    with pytest.raises(ConfigError, match=r"settings stand in \[redis\], not in \[plugins.redis\]"):
        files.load(toml="[plugins.redis]\nport = 1")


def test_a_section_must_be_a_table(files: Files) -> None:
    with pytest.raises(UnknownSetting, match="is a section"):
        files.load(toml='sqlite = "x"')
    with pytest.raises(UnknownSetting, match="unknown section 'sections'"):
        files.load({"sections": {"sqlite": {"path": "x"}}})


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("XQUEUE_CONCURENCY", "XQUEUE_CONCURRENCY"),
        ("XQUEUE_SQLITE_BUSY_TIMEOUT", "XQUEUE_SQLITE__BUSY_TIMEOUT"),
        ("XQUEUE_SQLIT__PATH", "XQUEUE_SQLITE__PATH"),
    ],
)
def test_an_unknown_variable_is_a_warning(files: Files, variable: str, meant: str) -> None:
    with pytest.warns(SettingsWarning, match=f"{variable} .*did you mean {meant}") as caught:
        assert files.load(env={variable: "5"}).model_dump() == Settings().model_dump()
    assert len(caught) == 1
    with pytest.warns(SettingsWarning, match=rf"\.env: {variable} "):
        files.load(dotenv=f"{variable}=5")


@pytest.mark.parametrize("variable", ["XQUEUE_", "XQUEUE___X", "XQUEUE_URL__X", "XQUEUE_ZZZ"])
def test_an_odd_variable_is_a_warning(files: Files, variable: str) -> None:
    with pytest.warns(SettingsWarning, match="ignored"):
        assert files.load(env={variable: "5"}).model_dump() == Settings().model_dump()


def test_a_container_platforms_variables_do_no_harm(files: Files) -> None:
    platform = {
        "XQUEUE_PORT": "tcp://10.0.0.1:80",
        "XQUEUE_PORT_8080_TCP": "tcp://10.0.0.1:8080",
        "XQUEUE_PORT_8080_TCP_PROTO": "tcp",
        "XQUEUE_PORT_8080_TCP_PORT": "8080",
        "XQUEUE_PORT_8080_TCP_ADDR": "10.0.0.1",
        "XQUEUE_SERVICE_HOST": "10.0.0.1",
        "XQUEUE_SERVICE_PORT": "80",
        "XQUEUE_SERVICE_PORT_HTTP": "80",
        "XQUEUE_REDIS_PORT": "tcp://10.0.0.2:6379",
        "XQUEUE_REDIS_SERVICE_HOST": "10.0.0.2",
        "XQUEUE_REDIS_PORT_6379_TCP": "tcp://10.0.0.2:6379",
        "XQUEUE_THREADS": "2",
    }
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert files.load(env=platform).model_dump() == Settings(threads=2).model_dump()


def test_sections_are_those_of_installed_plugins(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    site = tmp_path / "site"
    info = site / "shop-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: shop\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[xqueue.plugins]\nrate-meter = shop:Meter\n")
    monkeypatch.syspath_prepend(site)
    settings = load_settings({"rate_meter": {"x": 1}}, environ={}, folder=tmp_path)
    assert settings.sections == {"rate_meter": {"x": 1}}
    with pytest.raises(UnknownSetting, match="no plugin of this name"):
        load_settings({"zzzz": {"x": 1}}, environ={}, folder=tmp_path)


# -- wrong values ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("concurrency", 0, "1 to 100000"),
        ("threads", True, "1 to 10000"),
        ("processes", "many", "1 to 1024"),
        ("prefetch", -1, "0 to 100000"),
        ("grace", float("nan"), "0 to 86400"),
        ("lease", float("inf"), "0.05 to 86400"),
        ("lease", 0, "0.05"),
        ("lease_wait", 0, "to 300"),
        ("heartbeat", 3.76, "at most lease / 4 = 3.75"),
        ("max_payload", 524_289, "524288"),
        ("durability", "disk", "'process' or 'power'"),
        ("loop", "curio", "'asyncio', 'uvloop' or 'trio'"),
        ("log_level", "loud", "'warning'"),
        ("namespace", "My_App", "a-z, 0-9 and `-`"),
        ("namespace", "x" * 33, "1 to 32"),
        ("url", "xqueue.db", "scheme://"),
        ("lanes", "a b", "lane"),
        ("types", "", "type"),
    ],
)
def test_a_wrong_value_says_what_where_and_what_is_allowed(
    files: Files, name: str, value: object, allowed: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        files.load({name: value})
    text = str(caught.value)
    assert text.startswith(f"{name}")
    assert "(keyword argument)" in text
    assert allowed in text.lower() or allowed in text
    assert isinstance(caught.value.__cause__, ValidationError)


def test_a_wrong_value_tells_its_place(files: Files) -> None:
    with pytest.raises(ConfigError, match=r"^threads = 'x' \(environment variable XQUEUE_THREADS"):
        files.load(env={"XQUEUE_THREADS": "x"})
    with pytest.raises(ConfigError, match=rf"^grace = -1 \({files.folder}/xqueue.toml\)"):
        files.load(toml="grace = -1")


def test_all_wrong_values_are_told_at_once(files: Files) -> None:
    with pytest.raises(ConfigError, match=r"threads = 0 .*; grace = -1 "):
        files.load({"threads": 0, "grace": -1})


def test_the_longest_heartbeat_is_a_quarter_of_the_lease(files: Files) -> None:
    assert files.load({"heartbeat": 3.75}).heartbeat_interval == 3.75
    with pytest.raises(ConfigError, match=r"lease / 4 = 0\.25"):
        files.load({"heartbeat": 0.5}, env={"XQUEUE_LEASE": "1"})


@pytest.mark.parametrize("content", [b"threads = ", b"\xff\xfe", b"a = 1\na = 2"])
def test_a_file_that_is_not_toml(files: Files, content: bytes) -> None:
    (files.folder / "xqueue.toml").write_bytes(content)
    with pytest.raises(ConfigError, match=r"cannot read .*xqueue\.toml"):
        files.load()


def test_a_file_that_cannot_be_read(files: Files) -> None:
    (files.folder / "xqueue.toml").mkdir()
    with pytest.raises(ConfigError, match=r"cannot read .*xqueue\.toml"):
        files.load()


def test_a_dotenv_that_is_not_text(files: Files) -> None:
    (files.folder / ".env").write_bytes(b"XQUEUE_APP=\xff\xfe")
    with pytest.raises(ConfigError, match=r"cannot read .*\.env"):
        files.load()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            {"url": "thumbs"},
            "it has not the form that is wanted (The broker: `scheme://...`; a file",
        ),
        ({"namespace": "A B"}, "(keyword argument): it has not the form that is wanted (Prefix of"),
        ({"threads": "many"}, "threads = 'many' (keyword argument): it must be a whole number ("),
        ({"threads": 1.5}, "it must be a whole number (Threads"),
        ({"threads": 0}, "it must be 1 or more (Threads"),
        ({"threads": 10**6}, "it must be 10000 or less (Threads"),
        ({"grace": "soon"}, "it must be a number (Seconds"),
        ({"lease_wait": 0}, "it must be above 0 (Longest"),
        ({"lease": float("inf")}, "it must be 86400 or less (Seconds"),
        ({"loop": "curio"}, "it must be 'asyncio', 'uvloop' or 'trio' (Event loop"),
        ({"url": 5}, "it must be a text (The broker"),
        ({"plugins": 5}, "it must be a list (Names"),
        ({"heartbeat": 10}, "at most lease / 4 = 3.75 seconds"),
    ],
)
def test_what_is_wrong_is_said_in_our_words(
    files: Files, given: dict[str, object], words: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        files.load(given)
    assert words in str(caught.value)
