"""Forks of several threads come one after another, and a child knows what it was not spared."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable

import pytest

from xqueue_sqlite.forking import LONGEST, Quiet


class Holder:
    """Has one connection, which takes as long to close as the test likes."""

    def __init__(self, closing: Callable[[], object] = lambda: None) -> None:
        self._closing = closing
        self.open: object | None = object()

    def let_go(self) -> None:
        """As SQLite's driver does it: what is being closed no longer reads as open."""
        if self.open is not None:
            self.open = None
            self._closing()

    def inherited(self) -> Iterable[object]:
        """What is open."""
        return [] if self.open is None else [self.open]


class Forker:
    """A thread between the hooks of a fork."""

    def __init__(self, quiet: Quiet) -> None:
        self.ready, self.forked = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._fork, args=(quiet,))
        self._thread.start()

    def _fork(self, quiet: Quiet) -> None:
        quiet.before()
        self.ready.set()
        self.forked.wait(20)
        quiet.after()

    def end(self) -> None:
        """Have it fork, and wait for its end."""
        self.forked.set()
        self._thread.join(20)
        assert not self._thread.is_alive()


def enters(quiet: Quiet) -> threading.Event:
    """Set once a thread of its own has been inside."""
    entered = threading.Event()

    def enter() -> None:
        with quiet:
            entered.set()

    threading.Thread(target=enter, daemon=True).start()
    return entered


def test_a_fork_waits_until_another_one_has_closed_everything_and_is_over() -> None:
    quiet = Quiet()
    closing, closed = threading.Event(), threading.Event()

    def close() -> None:
        closing.set()
        closed.wait(20)

    holder = Holder(close)
    quiet.watch(holder)
    first = Forker(quiet)
    assert closing.wait(10)
    second = Forker(quiet)
    assert not second.ready.wait(0.1)
    closed.set()
    assert first.ready.wait(10)
    entered = enters(quiet)
    assert not second.ready.wait(0.1)
    assert not entered.is_set()
    first.end()
    assert second.ready.wait(10)
    second.end()
    assert entered.wait(10)


def test_a_child_forked_while_another_fork_closes_is_tainted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("xqueue_sqlite.forking.LONGEST", 0.05)
    quiet = Quiet()
    closing, closed = threading.Event(), threading.Event()

    def close() -> None:
        closing.set()
        closed.wait(20)

    holder = Holder(close)
    quiet.watch(holder)
    first = Forker(quiet)
    assert closing.wait(10)
    quiet.before()  # in vain
    quiet.renew()  # as in a child
    assert quiet.tainted
    closed.set()
    first.end()


def test_a_child_forked_while_somebody_is_inside_is_tainted_though_nothing_reads_as_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Somebody may just be connecting."""
    monkeypatch.setattr("xqueue_sqlite.forking.LONGEST", 0.05)
    quiet = Quiet()
    inside, release = threading.Event(), threading.Event()

    def connect() -> None:
        with quiet:
            inside.set()
            release.wait(20)

    thread = threading.Thread(target=connect)
    thread.start()
    assert inside.wait(10)
    quiet.before()
    quiet.renew()
    assert quiet.tainted
    release.set()
    thread.join(10)


def test_a_child_of_a_quiet_parent_is_not_tainted_and_its_own_forks_go_on() -> None:
    quiet = Quiet()
    holder = Holder()
    quiet.watch(holder)
    quiet.before()
    quiet.renew()
    assert not quiet.tainted
    with quiet:
        holder.open = object()
    quiet.before()
    assert holder.open is None
    quiet.after()
    assert enters(quiet).wait(10)


def test_a_child_whose_parent_was_not_asked_is_tainted_by_what_is_open() -> None:
    """Servers written in C may fork and tell the child alone."""
    quiet = Quiet()
    holder = Holder()
    quiet.watch(holder)
    quiet.renew()
    assert quiet.tainted


def test_a_fork_within_a_fork_does_not_wait_and_does_not_end_the_outer_one() -> None:
    quiet = Quiet()
    quiet.before()
    quiet.before()
    quiet.after()
    other = Forker(quiet)
    entered = enters(quiet)
    assert not other.ready.wait(0.1)
    assert not entered.is_set()
    quiet.after()
    assert other.ready.wait(10)
    other.end()
    assert entered.wait(10)


def test_a_fork_by_whoever_is_inside_does_not_wait_for_itself() -> None:
    """In a signal's handler, which runs anywhere in its thread."""
    quiet = Quiet()
    holder = Holder()
    quiet.watch(holder)
    begun = time.monotonic()
    with quiet, quiet._changed:
        quiet.before()
        assert holder.open is not None  # it may be in use
        quiet.after()
    other = Forker(quiet)
    assert other.ready.wait(10)
    other.end()
    assert time.monotonic() - begun < LONGEST / 2


def test_a_fork_by_whoever_is_inside_does_not_wait_for_another_one_either() -> None:
    quiet = Quiet()
    begun = time.monotonic()
    with quiet:
        other = Forker(quiet)
        while not quiet._turn:
            assert time.monotonic() - begun < LONGEST / 2
        quiet.before()
        quiet.after()
        with quiet:  # nor may it be kept out, for the other one waits for it
            assert not other.ready.is_set()
    assert other.ready.wait(10)
    other.end()
    assert time.monotonic() - begun < LONGEST / 2


def test_an_end_that_comes_alone_ends_nobodys_fork() -> None:
    quiet = Quiet()
    other = Forker(quiet)
    assert other.ready.wait(10)
    quiet.after()
    entered = enters(quiet)
    assert not entered.wait(0.1)
    other.end()
    assert entered.wait(10)


def test_a_child_that_a_handler_forked_inside_may_leave_the_context() -> None:
    quiet = Quiet()
    with quiet:
        quiet.before()
        quiet.renew()
        assert quiet.tainted
    quiet.before()
    quiet.after()
    assert enters(quiet).wait(10)
