"""A fork waits for late imports, and for whoever is within SQLite; a child finds both free."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager

import pytest

from support.forks import FORK_WARNING, Child
from xqueue_core.loading import Loading, loading
from xqueue_sqlite.forking import Quiet, quiet

pytestmark = pytest.mark.filterwarnings(FORK_WARNING)

BOTH = pytest.mark.parametrize("guard", [loading, quiet], ids=["loading", "quiet"])


def assert_free(guard: AbstractContextManager[None]) -> None:
    """Another thread may enter."""
    entered = threading.Event()

    def enter() -> None:
        with guard:
            entered.set()

    other = threading.Thread(target=enter, daemon=True)
    other.start()
    assert entered.wait(10)
    other.join(10)


@BOTH
def test_a_fork_waits_for_those_inside(guard: AbstractContextManager[None]) -> None:
    inside, release, forked = threading.Event(), threading.Event(), threading.Event()
    codes: list[int] = []

    def hold() -> None:
        with guard:
            inside.set()
            release.wait(20)

    def enter() -> None:
        with guard:
            pass

    def fork() -> None:
        child = Child(enter)
        forked.set()
        codes.append(child.join())

    holder, forker = threading.Thread(target=hold), threading.Thread(target=fork)
    holder.start()
    assert inside.wait(10)
    forker.start()
    assert not forked.wait(0.1)
    release.set()
    holder.join(10)
    forker.join(60)
    assert codes == [0]
    enter()


@BOTH
def test_a_fork_does_not_wait_for_ever(
    guard: AbstractContextManager[None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xqueue_core.loading.LONGEST", 0.05)
    monkeypatch.setattr("xqueue_sqlite.forking.LONGEST", 0.05)
    inside, release = threading.Event(), threading.Event()

    def hold() -> None:
        with guard:
            inside.set()
            release.wait(20)

    def enter() -> None:
        with guard:
            pass

    holder = threading.Thread(target=hold)
    holder.start()
    assert inside.wait(10)
    child = Child(enter)  # what was held in the parent is free here
    release.set()
    holder.join(10)
    assert child.join() == 0
    enter()


def test_a_fork_that_began_before_there_was_a_guard_locks_nobody_out() -> None:
    """The module may be imported by a thread while another forks: it hears of the end alone."""
    fresh = Quiet()
    fresh.after()
    with fresh:
        pass


def test_who_imports_may_fork() -> None:
    with loading:
        assert Child(loading.__enter__).join() == 0
        with loading:
            pass


def test_a_fork_within_a_fork_leaves_late_imports_to_other_threads() -> None:
    guard = Loading()
    guard._before()  # of one that a signal interrupts, whose handler forks too
    guard._before()
    guard._after()
    guard._after()
    assert_free(guard)


def test_a_child_forked_within_a_fork_finds_late_imports_free() -> None:
    guard = Loading()
    with guard:
        guard._before()
        guard._before()
        guard._in_child()
    assert_free(guard)
