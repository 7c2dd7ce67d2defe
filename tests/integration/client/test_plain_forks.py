"""``app.sync`` and forks: a child has a thread and a connection of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.apps import declare, make_app
from support.forks import FORK_OPTION, FORK_WARNING, Child
from support.plain import clients, wait_until
from xqueue_core import State, XQueue
from xqueue_core.errors import Refused
from xqueue_core.task import EventName
from xqueue_sqlite.forking import quiet

pytestmark = pytest.mark.filterwarnings(FORK_WARNING)

ROOT = Path(__file__).parents[3]


@pytest.fixture
def app(tmp_path: Path) -> Iterator[XQueue]:
    app = make_app(f"sqlite:///{tmp_path}/tasks.db")
    yield app
    app.sync.close()


def test_a_child_has_its_own_thread_and_the_parent_goes_on(app: XQueue) -> None:
    thumbnail = declare(app)
    first = thumbnail.sync.options(id="before").submit("a.png")
    events = [first.events(after="0.0")]
    next(events[0])
    loop = app._client.elsewhere._loop
    assert loop is not None

    def main() -> None:
        assert clients() == 0
        assert first.state() is State.PENDING  # a handle of the parent's works here, too
        thumbnail.sync.options(id="child").submit("b.png")
        assert app._client.elsewhere._loop is not loop
        assert clients() == 1
        del events[:]
        app.sync.close()
        app.sync.close()
        assert thumbnail.sync.submit("c.png").state() is State.PENDING

    for _ in range(3):
        assert Child(main).join() == 0
    assert app._client.elsewhere._loop is loop
    assert not loop.is_closed()
    assert app.sync.handle("thumbnail:child").state() is State.PENDING
    first.cancel()  # and the stream that a child had a copy of is told
    told = [one.event.name for one in events[0] if one.event is not None]
    assert told == [EventName.FINISHED]


def test_a_close_in_a_child_that_never_used_it_touches_nothing(app: XQueue) -> None:
    handle = declare(app).sync.submit("a.png")
    assert Child(app.sync.close).join() == 0
    assert handle.state() is State.PENDING


def test_what_a_child_submits_outlives_its_parents_close(app: XQueue, tmp_path: Path) -> None:
    """Else the parent, last to close as far as SQLite knows, takes the log away under the child."""
    thumbnail = declare(app)
    thumbnail.sync.options(id="0").submit("a.png")
    opened, closed = os.pipe(), os.pipe()

    def main() -> None:
        thumbnail.sync.options(id="1").submit("a.png")
        os.write(opened[1], b".")
        assert os.read(closed[0], 1)
        for n in range(2, 7):
            thumbnail.sync.options(id=str(n)).submit("a.png")

    child = Child(main)
    assert os.read(opened[0], 1)
    app.sync.close()
    assert (tmp_path / "tasks.db-wal").exists()
    os.write(closed[1], b".")
    assert child.join() == 0
    for end in (*opened, *closed):
        os.close(end)
    assert {app.sync.handle(f"thumbnail:{n}").state() for n in range(7)} == {State.PENDING}


def test_a_child_of_a_parent_that_was_not_quiet_refuses_the_file(
    app: XQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xqueue_sqlite.forking.LONGEST", 0.01)
    thumbnail = declare(app)
    thumbnail.sync.submit("a.png")

    def main() -> None:
        with pytest.raises(Refused, match="was forked while"):
            thumbnail.sync.submit("b.png")

    with quiet:  # as a thread is that waits for another process
        child = Child(main)
    assert child.join() == 0
    assert thumbnail.sync.submit("c.png").state() is State.PENDING


def test_a_fork_within_the_child_works_too(app: XQueue) -> None:
    thumbnail = declare(app)
    thumbnail.sync.options(id="0").submit("a.png")

    def child() -> None:
        thumbnail.sync.options(id="1").submit("a.png")
        assert Child(lambda: thumbnail.sync.options(id="2").submit("a.png")).join() == 0
        assert app.sync.handle("thumbnail:2").state() is State.PENDING

    assert Child(child).join() == 0
    assert app.sync.handle("thumbnail:2").state() is State.PENDING


def test_a_lock_that_another_thread_held_at_the_fork_is_no_matter(app: XQueue) -> None:
    thumbnail = declare(app)
    thumbnail.sync.submit("a.png")
    held, release = threading.Event(), threading.Event()

    def hold() -> None:
        with app._client.elsewhere._lock.own():
            held.set()
            release.wait(20)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(10)
    child = Child(lambda: thumbnail.sync.options(id="child").submit("b.png"))
    try:
        assert child.join() == 0
    finally:
        release.set()
        thread.join()
    assert app.sync.handle("thumbnail:child").state() is State.PENDING
    wait_until("the parent's is free", lambda: thumbnail.sync.submit("c.png"))


#: A program that closes nothing: what it submitted is there, and it ends without a word.
PROGRAM = """
import os, sys
from support.apps import declare, make_app

app = make_app("sqlite:///tasks.db")
thumbnail = declare(app)
print(thumbnail.sync.options(id="one").submit("a.png").id)
sys.stdout.flush()
if os.fork() == 0:
    print(thumbnail.sync.options(id="two").submit("a.png").id)
    sys.exit()
os.wait()
handle = app.sync.handle("thumbnail:two")
print(handle.state())
next(handle.events(after="0.0"))
"""


def test_a_program_that_closes_nothing_ends_in_silence(tmp_path: Path) -> None:
    path = [ROOT, ROOT / "tests", *ROOT.glob("backends/*"), *ROOT.glob("plugins/*")]
    done = subprocess.run(
        [sys.executable, "-W", "error", *FORK_OPTION, "-c", PROGRAM],
        cwd=tmp_path,
        env={"PYTHONPATH": ":".join(map(str, path))},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == ["thumbnail:one", "thumbnail:two", "pending"]
