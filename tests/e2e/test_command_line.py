"""The command line beside a real worker: what an operator does, process by process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

JOBS = """
import asyncio
from pathlib import Path
from xqueue_core import Context, XQueue

app = XQueue(lease=4.0, heartbeat=0.2, lease_wait=1.0)

@app.task(max_retry=0)
async def gated(ctx: Context, gate: str) -> str:
    await ctx.progress(50, "halfway")
    while not Path(gate).exists():
        await asyncio.sleep(0.02)
    return gate.upper()
"""

pytestmark = pytest.mark.timeout(240)

#: Longest wait for one process, on a machine that does other things as well (seconds).
LONGEST = 90
#: The cursor in front of everything that is kept.
BEGINNING = "1.0"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A working folder with `jobs.py`."""
    (tmp_path / "jobs.py").write_text(JOBS)
    return tmp_path


def begun(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """A process of the command line."""
    return subprocess.Popen(
        [sys.executable, "-m", "xqueue_core.cli", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(one for one in sys.path if one)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def said(folder: Path, *arguments: str, code: int = 0) -> str:
    """What a command prints."""
    process = begun(folder, *arguments)
    output, errors = process.communicate(timeout=LONGEST)
    assert process.returncode == code, errors
    assert "Traceback" not in errors
    return output


def data(folder: Path, *arguments: str, code: int = 0) -> Any:
    """The JSON document that a command prints."""
    return json.loads(said(folder, *arguments, "--json", code=code))


def until(folder: Path, id: str, key: str, wanted: object) -> None:
    """Wait until a field of the task is as wanted."""
    end = time.monotonic() + LONGEST
    while (found := data(folder, "task", "show", id))[key] != wanted:
        assert time.monotonic() < end, found


@contextmanager
def worker(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A worker of the app; killed in the end if it has not ended by then."""
    process = begun(folder, "worker", "jobs.py", "--name", "w", "--json")
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=LONGEST)


def test_an_operators_day(folder: Path) -> None:
    id = said(folder, "submit", "gated", "gate=one", "--app", "jobs.py").strip()
    with worker(folder) as process:
        until(folder, id, "state", "processing")
        [one] = data(folder, "workers", "list")["workers"]
        assert (one["alive"], one["lanes"]) == (True, ["gated"])
        assert one["id"].startswith("w~")
        following = begun(folder, "task", "events", id, "--after", BEGINNING, "--json")
        other = said(folder, "submit", "gated", "gate=two", "--app", "jobs.py").strip()
        until(folder, other, "state", "processing")
        assert "asked for the end" in said(folder, "task", "cancel", other)
        said(folder, "task", "wait", other, "--timeout", f"{LONGEST}", code=1)
        assert data(folder, "task", "show", other)["state"] == "canceled"
        (folder / "one").touch()
        assert said(folder, "task", "wait", id, "--timeout", f"{LONGEST}") == '"ONE"\n'
        events, errors = following.communicate(timeout=LONGEST)
        assert (following.returncode, errors) == (0, "")
        told = [json.loads(line) for line in events.splitlines()]
        assert [one["name"] for one in told] == ["accepted", "leased", "progress", "finished"]
        assert {one["id"] for one in told} == {id}
        assert (told[2]["data"]["percent"], told[2]["data"]["message"]) == (50, "halfway")
        assert told[2]["data"]["at"].endswith("Z")
        waited = (
            "submit",
            "gated",
            "gate=one",
            "--app",
            "jobs.py",
            "--wait",
            "--timeout",
            f"{LONGEST}",
        )
        assert said(folder, *waited).splitlines()[1] == '"ONE"'
        stopped = said(folder, "workers", "stop", "w")
        assert stopped == f"will stop: {one['id']}\n"
        _, log = process.communicate(timeout=LONGEST)
        assert process.returncode == 0
        assert all(json.loads(line)["message"] for line in log.splitlines())
    total = data(folder, "stats")["total"]
    assert (total["accepted"], total["success"], total["canceled"]) == (3, 2, 1)


def test_ctrl_c_is_130_and_no_traceback(folder: Path) -> None:
    id = said(folder, "submit", "gated", "gate=one", "--app", "jobs.py").strip()
    process = begun(folder, "task", "events", id, "--after", BEGINNING, "--json")
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())["name"] == "accepted"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=LONGEST)
    assert (process.returncode, errors) == (130, "")


def test_a_reader_that_goes_away_ends_it_quietly(folder: Path) -> None:
    for _ in range(3):
        said(folder, "submit", "gated", f"gate={'x' * 60_000}", "--app", "jobs.py")
    process = begun(folder, "task", "list", "--json")
    assert process.stdout is not None
    assert process.stdout.readline() == "{\n"
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == ""
    assert process.wait(LONGEST) in (0, 1)
    process.stderr.close()
