"""The supervisor of worker processes, over processes that do nothing."""

from __future__ import annotations

import errno
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from xqueue_core.cli import supervisor
from xqueue_core.cli.child import Child
from xqueue_core.cli.fleet import Fleet
from xqueue_core.cli.supervisor import Supervisor
from xqueue_core.cli.words import Word

#: Runs until it is signalled.
IDLE = [sys.executable, "-c", "import time; time.sleep(60)"]


def test_a_stop_while_a_child_is_spawned_reaches_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """And a child that was signalled before it could listen has ended as it should."""
    monkeypatch.setattr(supervisor, "PATIENCE", 3.0)
    caplog.set_level(logging.INFO, "xqueue.worker")

    def spawn(*arguments: Any, **options: Any) -> Any:
        signal.raise_signal(signal.SIGTERM)
        return popen(*arguments, **options)

    popen = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", spawn)
    assert Supervisor(IDLE, 2, grace=0.0).run() == 0
    assert caplog.text.count("started worker process") == 1
    assert "killing" not in caplog.text
    assert "ERROR" not in caplog.text


def child(first: Path, once: str, then: str = "say(Word.EMPTY)") -> list[str]:
    """A process that does ``once`` if it is the first of all, else ``then``."""
    script = f"""
import os, pathlib, signal, sys, time
from xqueue_core.cli.words import Mouth, Word
def say(word):
    Mouth(int(sys.argv[-1])).last(word)
    sys.exit(word.code)
try:
    pathlib.Path({str(first)!r}).touch(exist_ok=False)
except FileExistsError:
    time.sleep(0.3)
    {then}
{once}
"""
    return [sys.executable, "-c", script]


@pytest.mark.parametrize("fleet", [None, Fleet(2, 3)])
def test_a_child_that_ends_well_but_was_not_asked_to_is_replaced(
    fleet: Fleet | None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Somebody signalled it: its place is not lost."""
    caplog.set_level(logging.INFO, "xqueue.worker")
    command = child(tmp_path / "first", "say(Word.STOPPED)")
    assert Supervisor(command, 2, grace=0.0, fleet=fleet).run() == 0
    assert caplog.text.count("started worker process") == 3
    assert caplog.text.count("it was not asked to end") == 1
    assert "ERROR" not in caplog.text


@pytest.mark.parametrize("code", [0, 2, 75])
def test_an_exit_code_without_a_word_is_a_death(
    code: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A task that calls ``os._exit`` neither stops the others nor loses a place."""
    caplog.set_level(logging.INFO, "xqueue.worker")
    command = child(tmp_path / "first", f"os._exit({code})")
    assert Supervisor(command, 2, grace=0.0).run() == 0
    assert caplog.text.count("started worker process") == 3
    assert caplog.text.count(f"ended with code {code}\n") == 1
    assert caplog.text.count("another is started in 0.5 s") == 1
    assert caplog.text.count("ERROR") == 1


def test_a_signal_that_ended_a_process_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    command = child(tmp_path / "first", "os.kill(os.getpid(), 9)")
    assert Supervisor(command, 1, grace=0.0).run() == 0
    assert caplog.text.count("ended with code -9 (SIGKILL)\n") == 1


def test_a_code_that_does_not_fit_the_word_is_a_death(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    command = child(tmp_path / "first", "Mouth(int(sys.argv[-1])).last(Word.EMPTY); os._exit(3)")
    assert Supervisor(command, 1, grace=0.0).run() == 0
    assert caplog.text.count("ended with code 3") == 1


def test_wrong_usage_ends_all(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    command = child(tmp_path / "first", "say(Word.USAGE)", "time.sleep(60)")
    assert Supervisor(command, 2, grace=0.0).run() == 2


def test_what_has_served_is_not_wrongly_configured(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "xqueue.worker")
    served = "Mouth(int(sys.argv[-1])).busy((1, 0.0, False)); say(Word.USAGE)"
    assert Supervisor(child(tmp_path / "first", served), 1, grace=0.0).run() == 0
    assert caplog.text.count("another is started in 0.5 s") == 1


@pytest.mark.parametrize("word", ["ORDERED", "EMPTY"])
def test_a_child_that_retires_leaves_its_place(
    word: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "xqueue.worker")
    command = child(tmp_path / "first", f"say(Word.{word})", f"say(Word.{word})")
    assert Supervisor(command, 2, grace=0.0).run() == 0
    assert caplog.text.count("started worker process") == 2
    assert caplog.text.count("its place stays empty") == 2 * (word == "ORDERED")
    assert "ERROR" not in caplog.text


def test_a_replacement_that_cannot_be_spawned_harms_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "xqueue.worker")
    calls = 0

    def spawn(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 4:  # the third is the guardian
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return popen(*arguments, **options)

    popen = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", spawn)
    before = len(os.listdir("/proc/self/fd"))
    command = child(tmp_path / "first", "os._exit(9)", "time.sleep(3); say(Word.EMPTY)")
    assert Supervisor(command, 2, grace=0.0).run() == 0
    assert caplog.text.count("cannot be started: [Errno 24]") == 1
    assert caplog.text.count("started worker process") == 3
    assert "killing" not in caplog.text
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_first_stop_is_no_second_one_for_a_child_that_drains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    supervisor = Supervisor(IDLE, 2, grace=0.0)
    told: list[int] = []
    monkeypatch.setattr(Child, "stop", lambda self, _: told.append(id(self)))
    draining, other = supervisor._children
    draining.leaving = True
    supervisor._stop()
    assert told == [id(other)]
    supervisor._stop()
    assert told == [id(other), id(draining), id(other)]


def test_a_first_signal_hurries_nobody_who_drains_for_another_s_wrong_usage(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    supervisor = Supervisor(IDLE, 2, grace=0.0)
    told: list[int] = []

    def stop(self: Child, _: float) -> None:
        self.leaving = True
        told.append(id(self))

    monkeypatch.setattr(Child, "stop", stop)
    wrong, other = supervisor._children
    supervisor._ended(wrong, Word.USAGE)
    drained = len(told)
    assert id(other) in told
    supervisor._stop()
    assert len(told) == drained
    supervisor._stop()
    assert len(told) == drained + 2
