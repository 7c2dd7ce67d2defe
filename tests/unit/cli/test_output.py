"""How commands print, and the codes they end with."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from support.cli import Place, refused, run
from xqueue_core.cli.exits import Code, NotFound, WrongState, code_of
from xqueue_core.cli.group import xqueue
from xqueue_core.cli.lazy import Lazy
from xqueue_core.cli.output import Table, aligned, cell, printable
from xqueue_core.cli.shown.values import ago, compact, content, iso
from xqueue_core.errors import (
    ConfigError,
    InvalidResult,
    InvalidTask,
    ResultExpired,
    TaskFailed,
    Unavailable,
    UnknownType,
)

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Unavailable(), Code.ERROR),
        (TaskFailed(), Code.ERROR),
        (ConfigError(), Code.USAGE),
        (InvalidTask(), Code.USAGE),
        (InvalidResult(), Code.ERROR),
        (NotFound(), Code.NOT_FOUND),
        (ResultExpired(), Code.NOT_FOUND),
        (UnknownType(), Code.NOT_FOUND),
        (TimeoutError(), Code.TIMEOUT),
        (WrongState(), Code.STATE),
        (KeyboardInterrupt(), Code.INTERRUPTED),
    ],
)
def test_each_kind_of_error_has_its_code(error: BaseException, code: Code) -> None:
    assert code_of(error) is code


def test_the_documentation_has_every_exit_code() -> None:
    page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    codes = {int(one) for one in re.findall(r"^\| (\d+) \|", page, re.MULTILINE)}
    assert codes == set(Code)


def test_times_are_utc_by_iso_8601() -> None:
    assert iso(1_700_000_000.1234) == "2023-11-14T22:13:20.123Z"
    assert iso(0.0) is None
    assert iso(None) is None
    assert iso(1e12) == "9999-12-31T23:59:59.999Z"


def test_durations_are_readable() -> None:
    assert [ago(one) for one in (0.44, 12, 200, 8_000, 400_000)] == [
        "0.4 s",
        "12 s",
        "3 min",
        "2 h",
        "4 d",
    ]


def test_content_is_json_where_it_can_be_and_never_base64() -> None:
    assert content(b'{"a": [1, null]}') == {"a": [1, None]}
    assert content(b"plain") == "plain"
    assert content(b"NaN") == "NaN"
    assert content(b"\xff\x00") == {"hex": "ff00", "bytes": 2}
    assert content(b"[" * 100_000) == "[" * 100_000
    assert content(None) is None
    assert compact({"a": "x" * 100}, 20) == '{"a": "xxxxxxxxxx...'


def test_what_a_terminal_would_obey_is_escaped() -> None:
    assert printable("a\x1b[31mb\nc\udc80") == r"a\x1b[31mb\nc\udc80"
    assert printable("Grüße") == "Grüße"
    assert cell("") == cell(None) == "-"
    assert cell(0) == "0"


def test_plain_columns_are_aligned() -> None:
    table = Table(("name", "count"), [("a", 5), ("longer", 1234), ("", None)])
    assert list(aligned(table)) == [
        "NAME    COUNT",
        "a           5",
        "longer   1234",
        "-           -",
    ]


def walk(group: Lazy, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Every command, by its words."""
    found: list[tuple[str, ...]] = []
    context = xqueue.make_context("xqueue", [], resilient_parsing=True)
    for name in group.entries:
        command = group.get_command(context, name)
        words = (*path, name)
        found += walk(command, words) if isinstance(command, Lazy) else [words]
    return found


@pytest.mark.parametrize("words", walk(xqueue), ids=" ".join)
def test_every_command_has_help_json_app_and_url(words: tuple[str, ...]) -> None:
    answer = run(*words, "--help")
    assert "Usage" in answer.output
    options = set(re.findall(r"--[a-z]+", answer.output))
    wanted = NO_BROKER.get(words[0], {"--json", "--url", "--app"})
    assert wanted <= options


#: Commands that ask no broker, and the options they have nevertheless.
NO_BROKER: dict[str, set[str]] = {
    "worker": {"--url", "--app", "--json"},
    "plugins": {"--json"},
    "conformance": {"--json", "--url"},
    "completion": {"--json"},
}


@pytest.mark.parametrize("words", walk(xqueue), ids=" ".join)
def test_the_group_says_of_each_command_what_the_command_says(words: tuple[str, ...]) -> None:
    group: Lazy = xqueue
    context = xqueue.make_context("xqueue", [], resilient_parsing=True)
    for word in words[:-1]:
        inner = group.get_command(context, word)
        assert isinstance(inner, Lazy)
        group = inner
    command = group.get_command(context, words[-1])
    assert command is not None
    assert command.get_short_help_str(200) == group.entries[words[-1]].text


def test_a_command_that_there_is_not_names_the_nearest() -> None:
    refused("taks", code=2, says="No such command 'taks'. Did you mean 'task'?")
    refused("task", "shwo", "a:b", code=2, says="Did you mean 'show'?")


def test_the_version() -> None:
    assert re.fullmatch(r"xqueue \S+.*", run("--version").stdout.strip())


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("foo.db", "'foo.db' is no URL: a file of SQLite is sqlite:///foo.db (below the"),
        ("/var/lib/foo.db", "a file of SQLite is sqlite:////var/lib/foo.db"),
        ("sqlite:foo.db", "a file of SQLite is sqlite:///foo.db"),
        ("sqlite:///", "there is no database"),
        ("memory", "--url: 'memory' is no URL, which begins with `scheme://` (installed: "),
        ("user:secret@host", "--url: what was given is no URL"),
        ("nosuch://host", "no backend named 'nosuch'"),
    ],
)
def test_a_url_that_is_none_is_told_what_it_should_be(place: Place, url: str, says: str) -> None:
    answer = run("stats", "--url", url, code=None)
    assert answer.exit_code in (2, 3)
    [line] = answer.stderr.splitlines()
    assert line.startswith("Error: ")
    assert says in line
    assert "secret" not in answer.output
    assert not list(place.folder.glob("*.db*"))


def test_a_database_that_is_not_there_is_not_made(place: Place) -> None:
    for words in (("stats",), ("task", "list"), ("task", "show", "greet:x")):
        refused(*words, code=3, says=f"there is no database {place.file}")
    assert not list(place.folder.glob("*.db*"))


def test_neither_is_one_of_another_face(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.submit("greet", name="you")
    monkeypatch.setenv("XQUEUE_SEMAPHORE_URL", "sqlite:///limits.db")
    refused("lanes", "list", code=3, says=f"there is no database {place.folder / 'limits.db'}")
    assert not (place.folder / "limits.db").exists()


def test_an_output_that_cannot_have_a_character_gets_an_escape(place: Place) -> None:
    place.submit("greet", name="Grüße ☃")
    latin = in_a_process(place, "task", "list", PYTHONIOENCODING="latin-1")
    assert r"Grüße \u2603" in latin.stdout.decode("latin-1")
    plain = in_a_process(place, "task", "list", PYTHONIOENCODING="ascii")
    assert r"Gr\xfc\xdfe \u2603" in plain.stdout.decode("ascii")


def test_an_output_that_takes_nothing_is_one_line(place: Place) -> None:
    place.submit("greet", name="you")
    full = in_a_shell(place, "task list > /dev/full")
    assert (full.returncode, full.stderr) == (1, b"Error: No space left on device\n")
    closed = in_a_shell(place, "task list >&-")
    assert (closed.returncode, closed.stderr) == (0, b"")


def test_an_error_obeys_no_terminal_either(place: Place) -> None:
    id = place.submit("broken", text="\x1b[31mred\nand more")
    place.work()
    answer = run("task", "wait", id, code=1)
    [line] = answer.stderr.splitlines()
    assert line.startswith("Error: ")
    assert r"\x1b[31mred\nand more" in line


def in_a_shell(place: Place, line: str) -> subprocess.CompletedProcess[bytes]:
    code = [
        str(ROOT),
        str(ROOT / "tests"),
        *map(str, ROOT.glob("backends/*")),
        *map(str, ROOT.glob("plugins/*")),
    ]
    return subprocess.run(
        ["sh", "-c", f"exec {sys.executable} -m xqueue_core.cli {line}"],
        cwd=place.folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(code), "PYTHONUNBUFFERED": ""},
        capture_output=True,
        timeout=30,
        check=False,
    )


def in_a_process(
    place: Place, *arguments: str, **environ: str
) -> subprocess.CompletedProcess[bytes]:
    code = [
        str(ROOT),
        str(ROOT / "tests"),
        *map(str, ROOT.glob("backends/*")),
        *map(str, ROOT.glob("plugins/*")),
    ]
    return subprocess.run(
        [sys.executable, "-m", "xqueue_core.cli", *arguments],
        cwd=place.folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(code), **environ},
        capture_output=True,
        timeout=30,
        check=True,
    )


def test_a_broker_in_one_process_alone_is_refused(place: Place) -> None:
    refused("stats", "--url", "memory://", code=2, says="lives in one process alone")


def test_a_file_that_is_no_database_is_one_line(place: Place) -> None:
    place.file.write_text("hello " * 1000)
    answer = run("stats", code=None)
    assert answer.exit_code in (1, 2), answer.output
    assert len(answer.stderr.splitlines()) == 1


def on_a_terminal(place: Place, *arguments: str, **environ: str) -> str:
    """What a command prints on a terminal."""
    ours, theirs = pty.openpty()
    code = [
        str(ROOT),
        str(ROOT / "tests"),
        *map(str, ROOT.glob("backends/*")),
        *map(str, ROOT.glob("plugins/*")),
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "xqueue_core.cli", *arguments],
        cwd=place.folder,
        env={
            **{name: value for name, value in os.environ.items() if name != "NO_COLOR"},
            "PYTHONPATH": os.pathsep.join(code),
            "TERM": "xterm-256color",
            "COLUMNS": "200",
            **environ,
        },
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=subprocess.STDOUT,
    )
    os.close(theirs)
    said = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # Linux says so when nobody has the other end any more
            break
        if not part:
            break
        said += part
    os.close(ours)
    assert process.wait(30) == 0, said
    return said.decode()


def test_a_terminal_gets_tables_in_colour_unless_it_asks_for_none(place: Place) -> None:
    place.submit("broken", text="[red]\x1b[31m")
    place.work()
    coloured = on_a_terminal(place, "task", "list")
    assert "\x1b[31mfailed" in coloured
    assert r"[red]\x1b[31m" in coloured
    assert "─" in coloured
    plain = on_a_terminal(place, "task", "list", NO_COLOR="1")
    assert not re.search(r"\x1b\[[0-9;]*3[0-7]", plain)
    assert "─" in plain
    assert "─" not in run("task", "list").stdout
    assert "\x1b" not in run("task", "list").stdout


def test_json_on_a_terminal_is_json(place: Place) -> None:
    place.submit("greet", name="you")
    assert len(json.loads(on_a_terminal(place, "task", "list", "--json"))["tasks"]) == 1


@pytest.mark.parametrize("columns", [80, 100, 120])
def test_ids_and_workers_stand_whole_on_any_terminal(place: Place, columns: int) -> None:
    ids = [place.submit("broken", text="a long text " * 9) for _ in range(2)]
    place.work()
    worker = json.loads(run("task", "show", ids[0], "--json").stdout)["history"][0]["worker"]
    size = {"COLUMNS": str(columns), "NO_COLOR": "1"}
    for command in (("task", "list"), ("dead", "list")):
        shown = re.sub(r"\x1b\[[0-9;]*m", "", on_a_terminal(place, *command, **size))
        assert all(one in shown for one in ids)
        assert max(map(len, shown.splitlines())) <= columns
    assert worker in on_a_terminal(place, "task", "show", ids[0], **size)
