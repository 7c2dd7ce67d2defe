"""Forks by many threads while the file is in use: no child has it open, and nothing is lost."""

from __future__ import annotations

import asyncio
import os
import random
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from support import sqlite_child
from support.apps import declare, make_app
from support.forks import FORK_WARNING, Child
from support.plain import wait_until
from support.stores import make
from xqueue_core import State, XQueue
from xqueue_core.errors import Refused
from xqueue_sqlite import SqliteRecords
from xqueue_sqlite.connection import FileOptions
from xqueue_sqlite.forking import quiet
from xqueue_sqlite.store import opened

pytestmark = [
    pytest.mark.filterwarnings(FORK_WARNING),
    pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="nothing tells what is open"),
]

FORKERS, USERS, TURNS = 4, 2, 10


def held(path: Path) -> list[str]:
    """Names of the database and what lies beside it, less the bell, which this process has open."""
    found = []
    for number in os.listdir("/proc/self/fd"):
        try:
            name = os.path.basename(os.readlink(f"/proc/self/fd/{number}"))
        except OSError:  # of the listing itself
            continue
        if name.startswith(path.name) and not name.endswith("-bell"):
            found.append(name)
    return found


class Thread(threading.Thread):
    """Not one of a pool: the standard library's have a lock that lets nobody else fork."""

    def __init__(self, main: Callable[[str], None], who: str) -> None:
        super().__init__(daemon=True)
        self._main, self._who = main, who
        self._error: BaseException | None = None
        self.start()

    def run(self) -> None:
        """Call ``main``."""
        try:
            self._main(self._who)
        except BaseException as error:
            self._error = error

    def end(self) -> None:
        """Wait for its end. Raises what it has raised."""
        self.join(150)
        assert not self.is_alive(), f"{self._who} hangs"
        if self._error is not None:
            raise self._error


@contextmanager
def excluded(path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that keeps all others out, even those that would read, until its input ends."""
    with subprocess.Popen(
        [sys.executable, sqlite_child.__file__, "exclude", str(path)],
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "excluded\n"
            yield process
        finally:
            process.kill()


def all_stored(app: XQueue, path: Path, expected: set[str]) -> None:
    """See that every task is there, and that the database is whole."""
    for id in expected:
        assert app.sync.handle(id).state() is State.PENDING
    app.sync.close()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.mark.timeout(240)
def test_many_threads_fork_while_many_submit_and_read(tmp_path: Path) -> None:
    path = tmp_path / "tasks.db"
    app = make_app(f"sqlite:///{path}")
    thumbnail = declare(app)
    expected: set[str] = set()
    over = threading.Event()

    def in_child(who: str) -> None:
        assert (held(path), quiet.tainted) == ([], False)
        for n in range(2):
            assert thumbnail.sync.options(id=f"{who}.{n}").submit("a.png").id
        assert app.sync.handle("thumbnail:user0.0").state() is State.PENDING

    def forks(who: str) -> None:
        # Closing what has a log worth copying takes a while, in which the others come.
        calls = [thumbnail.call(f"{n}.png" + "x" * 20_000) for n in range(25)]
        expected.update(one.id for one in app.sync.submit_many(calls))
        together.wait(60)
        over.wait(random.uniform(0, 0.01))
        assert Child(lambda: in_child(who)).join() == 0
        expected.update(f"thumbnail:{who}.{n}" for n in range(2))

    def uses(who: str) -> None:
        n = 0
        while not over.is_set():
            handle = thumbnail.sync.options(id=f"{who}.{n}").submit("a.png")
            assert handle.state() is State.PENDING
            expected.add(handle.id)
            n += 1

    together = threading.Barrier(FORKERS)
    assert thumbnail.sync.options(id="user0.0").submit("a.png")
    users = [Thread(uses, f"user{n}") for n in range(USERS)]
    try:
        for turn in range(TURNS):
            for one in [Thread(forks, f"forker{n}.{turn}") for n in range(FORKERS)]:
                one.end()
    finally:
        over.set()
    for one in users:
        one.end()
    all_stored(app, path, expected)


def test_a_child_forked_while_a_connection_is_made_refuses_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has the file open, though no list tells of a connection that is not made yet."""
    monkeypatch.setattr("xqueue_sqlite.forking.LONGEST", 0.2)
    path = tmp_path / "tasks.db"
    before = make_app(f"sqlite:///{path}")
    assert declare(before).sync.submit("a.png")
    before.sync.close()
    app = make_app(f"sqlite:///{path}", sqlite={"busy_timeout": 50.0})
    thumbnail = declare(app)

    def main() -> None:
        with pytest.raises(Refused, match="was forked while"):
            thumbnail.sync.submit("c.png")

    with excluded(path) as owner:
        waiting = Thread(lambda path: thumbnail.sync.options(id="b").submit(path), "b.png")
        wait_until("it connects", lambda: held(path))
        assert Child(main).join() == 0
        owner.communicate("", timeout=30)
        waiting.end()
    assert app.sync.handle("thumbnail:b").state() is State.PENDING
    app.sync.close()


def test_a_child_that_closes_what_its_parent_opened_does_nothing(tmp_path: Path) -> None:
    async def main() -> int:
        async with opened(str(tmp_path / "tasks.db"), FileOptions()) as store:
            # As the writer has it for a moment whenever another process is in its way.
            with vars(store._patience._ended)["_cond"]:
                child = Child(lambda: asyncio.run(store.close()))
            code = await asyncio.to_thread(child.join, 20)
            assert await SqliteRecords(store).swap([make("parent")]) == [True]
            return code

    assert asyncio.run(main()) == 0
