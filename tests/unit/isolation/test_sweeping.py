"""Killing what a child has left in its session."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from xqueue_core.worker.isolation import process as processes
from xqueue_core.worker.isolation.process import Process


@pytest.fixture
def process() -> Process:
    """One that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait()
    made = Process.__new__(Process)
    made.pid = ended.pid
    made.foreign = False
    return made


def test_what_belongs_to_another_user_is_named_once_and_not_waited_for(
    process: Process, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    killed = []

    def kill(pid: int, number: int) -> None:
        killed.append((pid, number))
        if pid == 7:
            raise PermissionError(1, "Operation not permitted")

    left = [[7, 8], [7], [7]]
    monkeypatch.setattr(os, "kill", kill)
    monkeypatch.setattr(processes, "_session", lambda session: iter(left.pop(0)))
    assert not process.swept()  # the other one is to be gone first
    assert process.swept()
    assert process.swept()
    assert killed == [(pid, signal.SIGKILL) for pid in (7, 8, 7, 7)]
    [said] = [record.getMessage() for record in caplog.records]
    assert "another user" in said
    assert "7" in said


def test_what_ends_by_itself_is_looked_for_again(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = [[7], []]

    def kill(pid: int, number: int) -> None:
        raise ProcessLookupError

    monkeypatch.setattr(os, "kill", kill)
    monkeypatch.setattr(processes, "_session", lambda session: iter(left.pop(0)))
    assert [process.swept(), process.swept()] == [False, True]
