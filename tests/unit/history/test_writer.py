"""The history file: one line each, whoever writes, and nothing lost by a SIGKILL."""

from __future__ import annotations

import multiprocessing
import os
import signal
from pathlib import Path
from threading import Thread
from typing import Any

import msgspec
import pytest

from support.history import events as e
from support.history.writer import Reader, Writer, now, read

EACH = 500


def _write(path: str, n: int) -> None:
    writer = Writer(path)
    for at in range(EACH):
        writer.write(e.Told(at=at, id=f"{n}:" + "x" * (at % 300), token=n))


def _die(path: str) -> None:
    Writer(path).write(e.Born(at=now(), worker="w", pid=os.getpid()))
    os.kill(os.getpid(), signal.SIGKILL)


def test_every_kind_survives_the_way_through_a_file(tmp_path: Path) -> None:
    told: list[e.AnyEvent] = [
        e.Submitted(at=1.5, id="a", answer="unknown", due=2.0, lane="l", key="k", priority=3),
        e.Killed(at=2.0, sent=1.9, pid=7),
        e.LimitSet(at=3.0, effective=3.5, limit=None, lane="l"),
        e.FinalState(at=4.0, id="a", state="success", history=[e.Delivered(1, 1, "w", "lost")]),
    ]
    writer = Writer(tmp_path / "history")
    writer.write(*told)
    writer.close()
    assert read(tmp_path / "history") == told


def test_processes_and_threads_write_whole_lines(tmp_path: Path) -> None:
    path = str(tmp_path / "history")
    spawn = multiprocessing.get_context("spawn")
    processes = [spawn.Process(target=_write, args=(path, n)) for n in range(2)]
    threads = [Thread(target=_write, args=(path, n)) for n in range(2, 4)]
    writers: list[Any] = [*processes, *threads]
    for one in writers:
        one.start()
    for one in writers:
        one.join(30)
    events = read(path)
    for n in range(4):
        mine = [one for one in events if isinstance(one, e.Told) and one.token == n]
        assert [one.at for one in mine] == [*range(EACH)], "in the writer's own order"


def test_what_was_written_before_a_sigkill_is_there(tmp_path: Path) -> None:
    path = tmp_path / "history"
    process = multiprocessing.get_context("spawn").Process(target=_die, args=(str(path),))
    process.start()
    process.join(30)
    assert process.exitcode == -signal.SIGKILL
    assert [type(one) for one in read(path)] == [e.Born]


def test_a_reader_waits_for_the_rest_of_a_line(tmp_path: Path) -> None:
    path = tmp_path / "history"
    reader = Reader(path)
    assert reader.more() == []
    line = e.encode(e.Told(at=1.0, id="a", token=1))
    path.write_bytes(line + line[:10])
    assert len(reader.more()) == 1
    assert reader.more() == []
    path.write_bytes(line + line)
    assert len(reader.more()) == 1


@pytest.mark.parametrize("line", [b"{}", b'{"kind":"nonsense","at":1}', b"start a 1"])
def test_a_line_that_is_no_event_is_refused(line: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        e.decode(line)
