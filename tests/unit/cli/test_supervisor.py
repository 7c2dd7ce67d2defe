"""The supervisor of worker processes, over processes that do nothing."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
from typing import Any

import pytest

from xqueue_core.cli import supervisor
from xqueue_core.cli.supervisor import Supervisor

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
