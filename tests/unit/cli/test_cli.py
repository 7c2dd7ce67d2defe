"""The command line's own parts; worker processes are tested in tests/integration."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from support.modules import forgotten
from xqueue_core import XQueue
from xqueue_core.cli.apps import configure, find_app
from xqueue_core.cli.child import FIRST_WAIT, HEALTHY, LONGEST_WAIT, Child
from xqueue_core.cli.group import COMMANDS, xqueue
from xqueue_core.cli.loops import loops
from xqueue_core.cli.signals import SAME, stopper
from xqueue_core.cli.words import Word
from xqueue_core.errors import ConfigError

APP = "from xqueue_core import XQueue\n{} = XQueue('memory://', concurrency=7)\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working folder, whose modules are forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    with forgotten(tmp_path):
        yield tmp_path


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from xqueue_core.cli.group import xqueue\n"
        "try:\n    xqueue.main(['--help'])\nexcept SystemExit: pass\n"
        "heavy = {'pydantic', 'asyncio', 'msgspec', 'stevedore', 'rich', 'anyio'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert all(name in done.stdout for name in COMMANDS)


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_can_be_imported(name: str) -> None:
    answer = CliRunner().invoke(xqueue, [name, "--help"])
    assert answer.exit_code == 0, answer.output
    assert "Usage" in answer.output


@pytest.mark.parametrize("spec", ["mine:app", "mine", "mine.py", "mine.py:app"])
def test_an_app_is_found(folder: Path, spec: str) -> None:
    (folder / "mine.py").write_text(APP.format("app"))
    app = find_app(spec)
    assert isinstance(app, XQueue)
    assert app.settings().concurrency == 7


def test_the_only_app_is_found_whatever_its_name(folder: Path) -> None:
    (folder / "other.py").write_text(APP.format("queue"))
    assert isinstance(find_app("other"), XQueue)


def test_the_settings_name_the_app(folder: Path) -> None:
    (folder / "named.py").write_text(APP.format("app"))
    (folder / "xqueue.toml").write_text('app = "named:app"\n')
    assert isinstance(find_app(None), XQueue)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (None, "which app"),
        ("no_such_module", "no module"),
        ("no_such_file.py", "no file"),
        ("two", "say which"),
        ("two:nothing", r"^two has no `nothing`; it has: one, other$"),
        ("two.py:nothing", r"^two.py has no `nothing`; it has: one, other$"),
        ("two:XQueue", r"two:XQueue is not an XQueue, but a class; two has: one, other"),
        ("empty", r"^'empty' has no XQueue: name where it is, as in `empty:app`$"),
        ("empty:app", r"^empty has no `app`, and no XQueue at all$"),
    ],
)
def test_an_app_that_is_not_there(folder: Path, spec: str | None, message: str) -> None:
    (folder / "empty.py").write_text("")
    (folder / "two.py").write_text(APP.format("one") + APP.format("other"))
    with pytest.raises(ConfigError, match=message):
        find_app(spec)


@pytest.mark.parametrize("spec", ["broken", "broken.py"])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import no_such_thing", r"ModuleNotFoundError: No module named 'no_such_thing'$"),
        ("def f():\n    x = 1 +\n", r"SyntaxError: .*broken.py, line 2"),
        ("import sys\nsys.exit(0)", r"SystemExit: 0$"),
    ],
)
def test_an_app_whose_own_code_is_broken_says_so_without_our_frames(
    folder: Path, spec: str, text: str, message: str
) -> None:
    (folder / "broken.py").write_text(text)
    answer = CliRunner().invoke(xqueue, ["worker", spec])
    assert answer.exit_code == 2, answer.output
    first, *frames = answer.output.splitlines()
    assert re.match(f"Error: cannot load {spec}: {message}", first)
    assert "xqueue_core" not in answer.output
    assert "importlib" not in answer.output
    assert "SyntaxError" in first or "broken.py" in frames[0]


def test_a_file_of_a_package_is_to_be_named_as_a_module(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = folder / "whole" / "inner"
    inner.mkdir(parents=True)
    for part in (folder / "whole", inner):
        (part / "__init__.py").write_text("")
    (inner / "core.py").write_text("from .parts import thing\n")
    hint = "name it as a module, `whole.inner.core` or `whole.inner.core:attr`"
    with pytest.raises(ConfigError, match=f"attempted relative import.*package; {hint}\n  File"):
        find_app("whole/inner/core.py:mine")
    monkeypatch.chdir(inner)
    with pytest.raises(ConfigError, match=f"; {hint}, in the folder {folder}\n"):
        find_app("core.py")
    (folder / "bare").mkdir()
    (folder / "bare" / "core.py").write_text("from .parts import thing\n")
    monkeypatch.chdir(folder)
    with pytest.raises(ConfigError, match=r"`bare\.core`"):
        find_app("bare/core.py")


def test_a_file_in_no_package_is_not_to_be_named_as_one(folder: Path) -> None:
    (folder / "lone.py").write_text("from .parts import thing\n")
    with pytest.raises(ConfigError) as caught:
        find_app("lone.py")
    assert "name it" not in str(caught.value)


def test_a_misspelt_variable_is_told_once_in_one_line(folder: Path) -> None:
    (folder / "mine.py").write_text(APP.format("app"))
    done = subprocess.run(
        [sys.executable, "-m", "xqueue_core.cli", "worker", "mine.py"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "XQUEUE_CONCURENCY": "3"},
        capture_output=True,
        text=True,
        check=False,
    )
    first, *rest = done.stderr.splitlines()
    assert first.startswith("Warning: ")
    assert "XQUEUE_CONCURENCY" in first
    assert "did you mean XQUEUE_CONCURRENCY?" in first
    assert not [one for one in rest if "CONCURENCY" in one or "warn" in one.lower()], done.stderr


def test_flags_stand_above_the_apps_keywords() -> None:
    app = XQueue("memory://", concurrency=7, threads=3)
    configure(app, {"concurrency": 9, "threads": None})
    settings = app.settings()
    assert (settings.concurrency, settings.threads, settings.url) == (9, 3, "memory://")


def test_wrong_configuration_is_one_line_and_2() -> None:
    answer = CliRunner().invoke(xqueue, ["worker", "no_such_module:app"])
    assert answer.exit_code == 2
    assert answer.output.startswith("Error: ")


def test_signals_in_quick_succession_are_one_wish() -> None:
    stops: list[float] = []
    now = 10.0
    handle = stopper(lambda: stops.append(now), lambda: now)
    handle(15, None)
    now += SAME / 2
    handle(15, None)
    assert stops == [10.0]
    now += SAME
    handle(2, None)
    assert len(stops) == 2


def test_loops() -> None:
    for name, module in (("asyncio", "asyncio"), ("uvloop", "uvloop"), ("trio", "asyncio")):
        loop = loops(name)()
        assert module in type(loop).__module__
        loop.close()


@pytest.mark.parametrize("name", ["uvloop", "trio"])
def test_a_loop_that_is_missing_says_how_to_get_it(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ConfigError, match=rf"pip install 'xqueue-core\[{name}\]'"):
        loops(name)


def test_a_process_that_keeps_dying_is_started_ever_later() -> None:
    now = 0.0
    child = Child([sys.executable, "-c", ""], lambda: now)
    waits = []
    for _ in range(10):
        child.restart()
        assert child.at is not None
        waits.append(child.at - now)
    assert waits[:3] == [FIRST_WAIT, 2 * FIRST_WAIT, 4 * FIRST_WAIT]
    assert waits[-1] == LONGEST_WAIT
    child.restart(Word.RECYCLE)
    assert child.at == now
    now = HEALTHY + 1
    child.restart()
    assert child.at == now
