"""Commands that only look or order leave files that hold no XQueue as they are."""

from __future__ import annotations

import hashlib
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from support.cli import Place, data, lines, refused, run

#: One command of each kind that looks or orders.
LOOK = [
    ("stats",),
    ("task", "list"),
    ("task", "show", "greet:x"),
    ("task", "why", "greet:x"),
    ("task", "cancel", "greet:x"),
    ("task", "replay", "greet:x"),
    ("task", "wait", "greet:x"),
    ("task", "events", "greet:x"),
    ("dead", "list"),
    ("dead", "replay", "--yes"),
    ("purge", "greet:x", "--yes"),
    ("lanes", "list"),
    ("lanes", "pause", "greet"),
    ("lanes", "limit", "greet", "3"),
    ("workers", "list"),
    ("workers", "stop", "w~1"),
    ("schedules", "list"),
    ("top", "--once"),
]


def foreign(path: Path, mode: str) -> None:
    """Somebody else's database, or an empty file."""
    path.touch()
    if mode == "empty":
        return
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(f"pragma journal_mode = {mode}")
        db.execute("create table users (name text)")


def seen(folder: Path) -> dict[str, str]:
    """Every file of a folder, with what it holds."""
    return {
        one.name: hashlib.sha256(one.read_bytes()).hexdigest()
        for one in folder.iterdir()
        if one.is_file()
    }


@pytest.mark.parametrize("mode", ["delete", "wal", "empty"])
def test_a_file_without_xqueue_stays_as_it_is(place: Place, mode: str) -> None:
    path = place.folder / "other2.db"
    foreign(path, mode)
    before = seen(place.folder)
    for words in LOOK:
        says = "other2.db is empty" if mode == "empty" else "other2.db holds no XQueue"
        refused(*words, "--url", "sqlite:///other2.db", code=3, says=says)
        assert seen(place.folder) == before, words


def test_a_foreign_file_that_is_in_use_stays_as_it_is(place: Place) -> None:
    path = place.folder / "other2.db"
    foreign(path, "wal")
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("insert into users values ('me')")
        db.commit()
        before = seen(place.folder)
        refused("stats", "--url", f"sqlite:///{path}", code=3, says="but the tables users")
        after = seen(place.folder)
        del before["other2.db-shm"], after["other2.db-shm"]  # who reads is noted there
        assert after == before


def test_another_namespace_is_not_made(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.submit("greet", name="you")
    before = seen(place.folder)
    monkeypatch.setenv("XQUEUE_NAMESPACE", "other")
    refused("stats", code=3, says="none of the namespace 'other'")
    assert seen(place.folder) == before


def test_what_a_worker_left_in_the_log_alone_is_found(place: Place) -> None:
    """Whoever dies leaves its tables in the write-ahead log."""
    place.submit("greet", name="you")
    with closing(sqlite3.connect(place.file, isolation_level=None)) as db:
        db.execute("begin")
        db.execute("select * from xq_schema").fetchall()
        # While this reads, the log is not copied into the file.
        id = place.submit("greet", name="me")
        assert data("task", "show", id)["state"] == "pending"
        db.execute("commit")


def test_submit_and_trigger_make_what_is_missing_and_say_so(place: Place) -> None:
    answer = run("submit", "greet", "name=you", "--app", "jobs.py")
    path = place.folder / "xqueue.db"
    said = f"Warning: made the database {path}; no worker is known there\n"
    assert answer.stderr == said
    assert run("submit", "greet", "name=you", "--app", "jobs.py").stderr == ""
    answer = run("schedules", "trigger", "morning", "--app", "jobs.py", "--url", "sqlite:///b.db")
    assert "made the database" in answer.stderr
    foreign(place.folder / "c.db", "delete")
    answer = run("submit", "greet", "name=you", "--app", "jobs.py", "--url", "sqlite:///c.db")
    assert answer.stderr.startswith(f"Warning: made XQueue's tables in {place.folder / 'c.db'};")
    assert "pending" in lines("task", "list", "--url", "sqlite:///c.db")[1]


def test_what_cannot_be_submitted_makes_nothing(place: Place) -> None:
    refused("submit", "greet", "nme=you", "--app", "jobs.py", code=2, says="do not fit")
    refused("submit", "gret", "--app", "jobs.py", code=3, says="did you mean 'greet'")
    refused("submit", "greet", "name=you", code=3, says="there is no database")
    assert not list(place.folder.glob("*.db*"))


def test_settings_may_say_that_nothing_is_made(place: Place) -> None:
    (place.folder / "xqueue.toml").write_text("[sqlite]\nmake = false\n")
    app = ("--app", "jobs.py")
    refused("submit", "greet", "name=you", *app, code=3, says="there is no database")
    refused("worker", "jobs.py", "--burst", code=3, says="there is no database")
    assert not list(place.folder.glob("*.db*"))


def test_the_result_of_another_task_is_not_taken_for_that_of_a_new_one(place: Place) -> None:
    submit = ("submit", "greet", "--id", "x", "--app", "jobs.py")
    assert lines(*submit, "name=a") == ["greet:x"]
    place.work()
    answer = run(*submit, "name=b", "--wait")
    assert answer.stdout.splitlines() == ["greet:x", '"hello a"']
    assert answer.stderr == "Warning: greet:x exists already; nothing was submitted\n"


@pytest.mark.parametrize("words", [("--id", "x"), ("--unique-key", "x")])
def test_a_duplicate_is_told(place: Place, words: tuple[str, ...]) -> None:
    submit = ("submit", "greet", *words, "--app", "jobs.py")
    [id] = lines(*submit, "name=a")
    answer = run(*submit, "name=b")
    assert answer.stdout.splitlines() == [id]
    assert answer.stderr.startswith(f"Warning: {id} exists already")
    assert answer.stderr.endswith("nothing was submitted\n")
    assert data(*submit, "name=b")["duplicate"] is True
    answer = run("submit", "greet", "name=c", *words)
    assert "nothing was submitted" in answer.stderr
    assert "default options" not in answer.stderr
