"""The supervisor's side of its guardian, where there can be none."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from typing import Any

import pytest

from xqueue_core.cli.guard import Guard


def test_one_that_cannot_be_started_is_tried_again_ever_later(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = 0.0
    tries: list[float] = []

    def spawn(*_: Any, **__: Any) -> Any:
        tries.append(now)
        raise OSError(11, "no room")

    monkeypatch.setattr(subprocess, "Popen", spawn)
    guard = Guard(1.0, lambda: now)
    for now in range(20):  # noqa: B007 - the clock reads it
        guard.look([os.getpid()])
    guard.close()
    assert tries == [0, 1, 3, 7, 15]
    assert [one.levelno for one in caplog.records] == [logging.WARNING] * 5


def test_one_that_does_not_listen_is_replaced(caplog: pytest.LogCaptureFixture) -> None:
    now = 0.0
    guard = Guard(60.0, lambda: now)
    guard.look([os.getpid()])
    first = guard._process
    assert first is not None
    first.send_signal(signal.SIGSTOP)
    for count in range(40):
        guard.look(range(2**30, 2**30 + 1000 * (count % 2 + 1)))
    assert "it does not listen" in caplog.text or "Errno 11" in caplog.text
    assert first.poll() is not None
    now = 100.0
    guard.look([os.getpid()])
    assert guard._process is not None
    assert guard._process is not first
    guard.close()


def test_without_a_system_that_names_processes_there_is_none(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delattr(os, "pidfd_open")
    guard = Guard(1.0, lambda: 0.0)
    guard.look([os.getpid()])
    assert guard._process is None
    assert not caplog.records


def test_the_guardian_loads_next_to_nothing() -> None:
    """So it is there soon, and small."""
    code = "import sys; sys.path.insert(0, sys.argv[1]); import guardian; print(len(sys.modules))"
    from xqueue_core.cli import guardian

    folder = os.path.dirname(guardian.__file__)
    command = [sys.executable, "-I", "-S", "-c", code, folder]
    done = subprocess.run(command, capture_output=True, check=True, timeout=20)
    assert int(done.stdout) < 60
