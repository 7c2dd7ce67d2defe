"""`xqueue top`."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from support.apps import make_app
from support.cli import Place, data, declare, lines, refused
from xqueue_core.cli.drawing import narrowed
from xqueue_core.cli.output import Table
from xqueue_core.cli.watching import frame

ROOT = Path(__file__).parents[3]


def test_one_frame(place: Place) -> None:
    place.submit("greet", name="you")
    place.beat("w~1", lanes=["greet"])
    found = data("top", "--once")
    assert set(found) == {"at", "lanes", "workers", "rates"}
    assert found["rates"] == {"accepted": None, "ended": None}
    assert (found["lanes"][0]["lane"], found["workers"][0]["id"]) == ("greet", "w~1")
    said = lines("top", "--once")
    assert "1 pending, 0 processing, 0 scheduled, 0 failed; 1 worker" in said[0]
    assert any(line.startswith("LANE ") for line in said)
    assert any(line.startswith("w~1 ") for line in said)


def test_rates_are_of_the_time_between_two_frames(place: Place) -> None:
    async def main() -> tuple[float | None, float | None]:
        async with declare(make_app(place.url)) as app:
            await app.submit("greet", name="a")
            before = await frame(app, None)
            await app.submit("greet", name="b")
            after = await frame(app, before)
            return after.accepted, after.stats.at - before.stats.at

    accepted, seconds = asyncio.run(main())
    assert accepted is not None
    assert seconds is not None
    assert accepted == pytest.approx(1 / seconds, rel=0.01)


def started(
    place: Place, *options: str, stdout: int, stdin: int = subprocess.DEVNULL
) -> subprocess.Popen[bytes]:
    code = [
        str(ROOT),
        str(ROOT / "tests"),
        *map(str, ROOT.glob("backends/*")),
        *map(str, ROOT.glob("plugins/*")),
    ]
    return subprocess.Popen(
        [sys.executable, "-m", "xqueue_core.cli", "top", "--interval", "0.1", *options],
        cwd=place.folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(code), "TERM": "xterm-256color"},
        stdin=stdin,
        stdout=stdout,
        stderr=subprocess.PIPE,
    )


def ends(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, b"")


def test_live_on_a_terminal_until_ctrl_c(place: Place) -> None:
    place.submit("greet", name="you")
    ours, theirs = pty.openpty()
    process = started(place, stdout=theirs)
    os.close(theirs)
    said = b""
    while said.count(b"processing") < 3:  # three frames; the test's time-out is the deadline
        said += os.read(ours, 65536)
    assert b"greet" in said
    ends(process)
    os.close(ours)


@pytest.mark.parametrize("columns", [80, 100])
def test_the_screen_says_how_to_leave_it_and_breaks_no_heading(place: Place, columns: int) -> None:
    place.submit("greet", name="you")
    place.beat("worker-of-mine~0190a1b2-c3d4-7000-8000-000000000000", lanes=["greet", "wish"])
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    process = started(place, stdout=theirs, stdin=theirs)
    said = b""
    while said.count(b"processing") < 3:
        said += os.read(ours, 65536)
    for word in (b"q: leave", b"greet", b"scheduled", b"processing"):
        assert word in said
    before = termios.tcgetattr(theirs)
    os.write(ours, b"xq")
    _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, b"")
    assert not before[3] & termios.ICANON
    assert termios.tcgetattr(theirs)[3] & termios.ICANON  # as it was
    os.close(theirs)
    os.close(ours)


def test_columns_in_which_nothing_stands_make_room() -> None:
    table = Table(("lane", "scheduled", "parked", "holders"), [("a", 0, 0, ""), ("b", 3, 0, "w 1")])
    assert list(narrowed(table, 100).columns) == list(table.columns)
    assert narrowed(table, 22).rows == [["a", 0, ""], ["b", 3, "w 1"]]
    assert list(narrowed(table, 22).columns) == ["lane", "scheduled", "holders"]
    assert list(narrowed(Table(("a", "b"), []), 1).columns) == ["a"]


def test_lines_of_json_until_ctrl_c(place: Place) -> None:
    place.submit("greet", name="you")
    process = started(place, "--json", stdout=subprocess.PIPE)
    assert process.stdout is not None
    frames = [json.loads(process.stdout.readline()) for _ in range(3)]
    assert frames[0]["rates"]["ended"] is None
    assert frames[2]["rates"]["ended"] == 0.0
    assert all(one["trouble"] is None for one in frames)
    ends(process)


def test_top_called_wrongly(place: Place) -> None:
    place.submit("greet", name="you")
    refused("top", code=2, says="this is no terminal: give --once, or --json")
    refused("top", "--once", "--interval", "0", code=2, says="--interval")
    refused("top", "x", code=2, says="unexpected extra argument")
