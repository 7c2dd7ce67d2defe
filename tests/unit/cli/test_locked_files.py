"""A database that another program holds: a command ends soon, and says what is the matter."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from support.cli import Place, data, refused, run
from xqueue_core.cli import opening


@contextmanager
def held(place: Place, *, reading: bool) -> Iterator[str]:
    """The database's URL while somebody holds it, so that others may read it or not."""
    with closing(sqlite3.connect(place.file, isolation_level=None)) as db:
        if not reading:
            db.execute("pragma locking_mode = exclusive")
        db.execute("begin exclusive")
        yield f"{place.url}?busy_timeout=0.3"


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "DEADLINE", 1.0)


def test_who_looks_does_not_wait_for_who_writes(place: Place) -> None:
    id = place.submit("greet", name="you")
    with held(place, reading=True) as url:
        assert data("task", "show", id, "--url", url)["state"] == "pending"
        assert data("stats", "--url", url)["total"]["pending"] == 1


@pytest.mark.parametrize("reading", [True, False])
def test_a_submit_says_that_nothing_was_submitted(place: Place, reading: bool) -> None:
    place.submit("greet", name="you")
    began = time.monotonic()
    with held(place, reading=reading) as url:
        answer = run("submit", "greet", "name=x", "--app", "jobs.py", "--url", url, code=1)
    assert time.monotonic() - began < 30  # a busy machine's; it was 55 and more on an idle one
    [line] = answer.stderr.splitlines()
    assert line.startswith("Error: ")
    assert f"{place.file}: database is locked. Another process holds the file" in line
    assert "end what keeps a transaction open" in line
    assert "raise sqlite.busy_timeout" in line
    assert "given up after 1 s" in line
    assert "nothing was submitted" in line
    assert data("stats")["total"]["accepted"] == 1


def test_an_order_says_that_nothing_was_done(place: Place) -> None:
    place.submit("greet", name="you")
    with held(place, reading=True) as url:
        refused("lanes", "pause", "greet", "--url", url, code=1, says="nothing was done")
        refused("lanes", "pause", "greet", "--url", url, code=1, says=f"{place.file}: database is")
    with held(place, reading=False) as url:
        refused("task", "list", "--url", url, code=1, says=f"{place.file}: database is locked")
        refused("task", "list", "--url", url, code=1, says="given up after 1 s")


def test_a_wait_that_was_asked_for_is_not_cut_short(place: Place) -> None:
    place.submit("greet", name="you")
    with held(place, reading=True):
        url = f"{place.url}?busy_timeout=2.5"
        began = time.monotonic()
        refused("lanes", "pause", "greet", "--url", url, code=1, says="database is locked")
        assert time.monotonic() - began >= 2.5
