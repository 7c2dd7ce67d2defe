"""The command line refuses brokers that would not do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from support.modules import forgotten
from xqueue_core.cli.group import xqueue

APP = """
from support.apps import make_app
app = make_app("{url}", {more})
@app.task
async def job() -> None: pass
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working folder, whose modules are forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    with forgotten(tmp_path):
        yield tmp_path


def told(folder: Path, *arguments: str, url: str = "memory://", more: str = "") -> Result:
    """What a command answers about an app over this broker."""
    (folder / "mine.py").write_text(APP.format(url=url, more=more))
    return CliRunner().invoke(xqueue, [one.replace("APP", "mine.py") for one in arguments])


def check(answer: Result, *texts: str) -> None:
    """It is refused in one line, with these texts."""
    assert answer.exit_code == 2, answer.output
    assert answer.output.startswith("Error: ")
    assert len(answer.output.splitlines()) == 1
    for text in texts:
        assert text in answer.output


def test_several_processes_need_a_broker_that_they_share(folder: Path) -> None:
    answer = told(folder, "worker", "APP", "--processes", "2")
    check(answer, "memory://", "--processes 1", "--url sqlite:///xqueue.db")


def test_a_semaphore_must_be_shared_too(folder: Path) -> None:
    url, more = f"sqlite:///{folder / 'q.db'}", "semaphore_url='memory://'"
    answer = told(folder, "worker", "APP", "--processes", "2", url=url, more=more)
    check(answer, "memory://", "semaphore_url")


def test_a_task_is_not_submitted_where_no_worker_can_see_it(folder: Path) -> None:
    check(told(folder, "submit", "job", "--app", "APP"), "memory://", "sqlite:///xqueue.db")


def test_a_task_is_submitted_to_a_broker_that_is_shared(folder: Path) -> None:
    url = f"sqlite:///{folder / 'q.db'}"
    answer = told(folder, "submit", "job", "--app", "APP", url=url)
    assert answer.exit_code == 0, answer.output
    assert answer.stdout.startswith("job:")
    path = folder / "q.db"
    assert answer.stderr == f"Warning: made the database {path}; no worker is known there\n"
    assert told(folder, "submit", "job", "--app", "APP", url=url).stderr == ""


@pytest.mark.parametrize("app", [(), ("--app", "other.py")])
def test_a_task_of_a_type_that_the_app_does_not_declare_is_told_to_have_default_options(
    folder: Path, app: tuple[str, ...]
) -> None:
    url = f"sqlite:///{folder / 'q.db'}"
    (folder / "other.py").write_text("from xqueue_core import XQueue\napp = XQueue()\n")
    assert told(folder, "submit", "job", "--app", "APP", url=url).exit_code == 0
    answer = told(folder, "submit", "job", *app, "--url", url)
    assert answer.exit_code == 0, answer.output
    assert answer.stdout.startswith("job:")
    [line] = answer.stderr.splitlines()
    assert "'job'" in line
    assert "sent with default options: give --app" in line


def test_a_task_that_was_not_sent_is_not_told_to_have_default_options(folder: Path) -> None:
    answer = told(folder, "submit", "job", "--url", f"sqlite:///{folder / 'q.db'}")
    assert answer.exit_code == 3
    [line] = answer.output.splitlines()
    assert line.startswith(f"Error: there is no database {folder / 'q.db'}")


def test_inline_is_no_broker_for_commands(folder: Path) -> None:
    for words in (("submit", "job", "--app", "APP"), ("stats",), ("task", "list")):
        check(told(folder, *words, "--url", "inline://"), "inline:// is no broker", "sqlite:///")


def test_a_library_s_tasks_are_no_app(folder: Path) -> None:
    text = "from xqueue_core import Tasks\ntasks = Tasks()\n"
    (folder / "mailer.py").write_text(text)
    check(told(folder, "worker", "mailer.py"), "has no XQueue, but Tasks (tasks)", "app.include")


def test_a_broken_app_is_not_taken_for_none(folder: Path) -> None:
    (folder / "xqueue.toml").write_text('app = "broken.py"\n')
    (folder / "broken.py").write_text("1 / 0\n")
    answer = told(folder, "submit", "job")
    assert answer.exit_code == 2
    assert answer.output.startswith("Error: cannot load broken.py: ZeroDivisionError")
