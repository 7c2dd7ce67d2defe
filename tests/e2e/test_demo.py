"""``make demo``: it works over any folder, survives a kill at any moment, and tells the truth."""

from __future__ import annotations

import hashlib
import os
import pty
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import services
from support.demo_runs import Demo, alive, children, ended, kill_group, peak, wait_until

#: Of the files in their order, every eighth meets an injected fault, beginning with the first.
FAULTY = slice(0, None, 8)


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    """A demo over an empty folder; nothing of it is left running."""
    demo = Demo(tmp_path)
    yield demo
    wait_until("all workers have ended", lambda: not any(map(alive, demo.pids())))


def test_every_file_is_done_and_recorded_once(demo: Demo) -> None:
    made = demo.fill(24)
    code, output = demo.run()
    assert code == 0, output
    assert "24 done, 0 failed, 24 in all" in output
    rows = {row["path"]: row for row in demo.rows()}
    assert len(demo.rows()) == len(rows) == 24
    for path in made:
        digest = rows[str(path)]["digest"]
        assert digest["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
        assert digest["size"] == path.stat().st_size


def test_retries_happen_and_are_announced(demo: Demo) -> None:
    made = demo.fill(24)
    code, output = demo.run()
    assert code == 0, output
    faulty = {str(path) for path in made[FAULTY]}
    assert "3 will meet an injected fault once" in output
    assert "3, of them 3 after an injected fault" in output
    history = demo.history()
    assert {line["path"] for line in history if line["event"] == "failed"} == faulty
    assert {line["path"] for line in history if line.get("attempt") == 2} == faulty
    assert {row["path"] for row in demo.rows() if row["attempts"] == 2} == faulty


def test_the_limit_is_reached_and_never_exceeded(demo: Demo) -> None:
    demo.fill(40, 2_000_000)
    code, output = demo.run()
    assert code == 0, output
    assert peak(demo.history()) == 4
    assert "4 at most (limit 4), 2 worker processes" in output
    assert len(demo.pids()) == 2


def largest(output: str) -> str:
    """The first table at the end: files, and what was found out about them."""
    return output.partition("the 10 largest of 24 files")[2].partition("run ")[0]


def figures(output: str) -> list[str]:
    """The names of the figures in the second table."""
    lines = output.partition("the 10 largest of 24 files")[2].partition("run ")[2].splitlines()[1:]
    return [line.strip().split("  ")[0] for line in lines if line.strip()]


def test_it_ends_the_same_on_redis(demo: Demo) -> None:
    demo.fill(24)
    outputs = []
    with services.redis("redis7", aof=True) as server:
        for url in (server.url, f"sqlite:///{demo.state}/other.db"):
            code, output = demo.run(f"--url={url}")
            assert code == 0, output
            assert "24 submitted, 0 of them were there already" in output
            assert "24 done, 0 failed, 24 in all" in output
            assert "3, of them 3 after an injected fault" in output
            assert "(limit 4), 2 worker processes" in output
            outputs.append(output)
    redis, sqlite = outputs
    assert largest(redis).count(".bin") == 10
    assert largest(redis) == largest(sqlite)
    assert figures(redis) == figures(sqlite) != []
    rows = [(row["path"], row["state"], row["attempts"], row["digest"]) for row in demo.rows()]
    assert sorted(rows[:24], key=str) == sorted(rows[24:], key=str)


@pytest.mark.slow
def test_after_a_kill_of_everything_it_goes_on(demo: Demo) -> None:
    made = demo.fill(40, 2_000_000)
    first = demo.start()
    wait_until("half of the rows are recorded", lambda: len(demo.rows()) >= 20)
    kill_group(first)
    ended(first)
    wait_until("all its processes are gone", lambda: not any(map(alive, demo.pids())))
    before, recorded = demo.history(), demo.recorded()
    open_starts = {line["path"] for line in before if line["event"] == "start"} - {
        line["path"] for line in before if line["event"] in ("returned", "failed")
    }

    code, output = demo.run()
    assert code == 0, output
    assert f"goes on: {len(recorded)} of 40 files were recorded before" in output
    named = {
        str(demo.folder / line.removeprefix("  in flight: "))
        for line in output.splitlines()
        if line.startswith("  in flight: ")
    }
    assert open_starts <= named
    again = Counter(demo.starts()[len([1 for line in before if line["event"] == "start"]) :])
    assert not recorded & again.keys()
    assert all(again[path] == 1 for path in named)
    assert sorted(row["path"] for row in demo.rows()) == sorted(map(str, made))
    assert peak(demo.history()[len(before) :]) <= 4


def test_a_finished_run_is_followed_by_a_new_one(demo: Demo) -> None:
    demo.fill(8)
    for _ in range(2):
        code, output = demo.run()
        assert code == 0, output
        assert "8 submitted, 0 of them were there already" in output
    runs = Counter(row["run"] for row in demo.rows())
    assert sorted(runs.values()) == [8, 8]
    assert Counter(demo.starts()).most_common()[-1][1] >= 2


def test_stopped_it_ends_in_good_order_and_a_file_gone_since_then_fails(demo: Demo) -> None:
    made = demo.fill(30, 2_000_000)
    first = demo.start()
    wait_until("some files have started", lambda: len(demo.starts()) >= 2)
    first.send_signal(signal.SIGTERM)
    code, output = ended(first)
    assert code == 128 + signal.SIGTERM, output
    assert "run it again to go on" in output
    assert not any(map(alive, demo.pids()))
    (gone, *_) = [path for path in made if str(path) not in demo.starts()]
    gone.unlink()

    code, output = demo.run()
    assert code == 1, output
    assert f"failed: {gone.name}: FileNotFoundError: " in output
    assert "No such file" in output
    assert "29 done, 1 failed, 30 in all" in output


def test_what_git_tracks_is_taken_and_one_that_is_missing_fails(demo: Demo, tmp_path: Path) -> None:
    demo.fill(3)
    git = tmp_path / "bin" / "git"
    git.parent.mkdir()
    git.write_text("#!/bin/sh\nprintf 'file00.bin\\0file01.bin\\0missing.txt\\0'\n")
    git.chmod(0o755)
    code, output = demo.run(PATH=f"{git.parent}{os.pathsep}{os.environ['PATH']}")
    assert code == 1, output
    assert "3 files that git tracks" in output
    assert "2 done, 1 failed" in output
    assert "failed: missing.txt: FileNotFoundError: " in output
    assert str(demo.folder / "file02.bin") not in demo.starts()


def test_any_name_will_do(demo: Demo) -> None:
    deep = "/".join(["d" * 200] * 10)
    names = ["a b", "new\nline", "ünï ☃ 𝄞", "[bold]", "100%25 #?;&", "-rf", "'\"$HOME`x`", deep]
    names += [os.fsdecode(b"no\xffutf8"), "x" * 255, "A", "a"]
    for name in names:
        path = demo.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name, errors="surrogateescape")
    code, output = demo.run(PYTHONIOENCODING="ascii")
    assert code == 0, output
    assert demo.recorded() == {str(demo.folder / name) for name in names}
    assert "new\\nline" in output


def test_links_and_pipes_are_left_out(demo: Demo, tmp_path: Path) -> None:
    (inside,) = demo.fill(1)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "secret").write_text("not to be read")
    (demo.folder / "folder").symlink_to(tmp_path / "elsewhere")
    (demo.folder / "file").symlink_to(tmp_path / "elsewhere" / "secret")
    (demo.folder / "dangling").symlink_to("nowhere")
    os.mkfifo(demo.folder / "pipe")
    for skipped in (".git", ".venv", ".demo"):
        (demo.folder / skipped).mkdir()
        (demo.folder / skipped / "file").write_text("not work")
    code, output = demo.run()
    assert code == 0, output
    assert "left out: 4 that are no regular files" in output
    assert demo.recorded() == {str(inside)}


def test_an_empty_folder_is_done_at_once(demo: Demo) -> None:
    code, output = demo.run()
    assert code == 0, output
    assert "there is nothing to do" in output


@pytest.mark.parametrize(
    ("name", "why"), [("missing", "does not exist"), ("files/file00.bin", "is not a folder")]
)
def test_without_a_folder_it_does_not_begin(demo: Demo, name: str, why: str) -> None:
    demo.fill(1)
    wrong = demo.folder.parent / name
    code, output = demo.run("--dir", str(wrong))
    assert code == 2
    assert output == f"demo: the folder {wrong} {why}\n"


def test_a_wrong_url_is_told(demo: Demo) -> None:
    demo.fill(1)
    code, output = demo.run("--url", "nosuch://broker")
    assert code == 2
    assert "no backend named 'nosuch' is installed" in output
    assert "Traceback" not in output


def test_a_broker_within_the_process_is_served_there(demo: Demo) -> None:
    demo.fill(10)
    code, output = demo.run("--url", "memory://")
    assert code == 0, output
    assert "10 done, 0 failed" in output
    assert "a worker in this process" in output


def test_two_at_once_are_refused(demo: Demo) -> None:
    demo.fill(30, 2_000_000)
    first = demo.start()
    wait_until("it is at work", demo.starts)
    code, output = demo.run()
    assert code == 2
    assert "another demo is at work" in output
    first.send_signal(signal.SIGTERM)
    assert ended(first)[0] == 128 + signal.SIGTERM


def test_workers_end_with_their_parent(demo: Demo) -> None:
    demo.fill(30, 2_000_000)
    first = demo.start()
    wait_until("it is at work", demo.starts)
    workers = children(first)
    assert len(workers) == 2
    first.kill()
    wait_until("its workers have ended", lambda: not any(map(alive, workers)), 15)
    ended(first)


def test_if_every_worker_dies_it_says_so(demo: Demo) -> None:
    demo.fill(30, 2_000_000)
    first = demo.start()
    wait_until("it is at work", demo.starts)
    for pid in children(first):
        os.kill(pid, signal.SIGKILL)
    code, output = ended(first)
    assert code == 1
    assert "demo: every worker has ended" in output


def test_one_dead_worker_is_made_up_for(demo: Demo) -> None:
    made = demo.fill(20, 2_000_000)
    first = demo.start()
    wait_until("it is at work", demo.starts)
    os.kill(min(demo.pids()), signal.SIGKILL)
    code, output = ended(first)
    assert code == 0, output
    assert demo.recorded() == set(map(str, made))
    assert int(output.partition("at one time")[2].split()[0]) <= 4


def test_stopped_from_the_keyboard_it_ends_soon(demo: Demo) -> None:
    demo.fill(30, 2_000_000)
    first = demo.start()
    wait_until("it is at work", demo.starts)
    os.killpg(first.pid, signal.SIGINT)  # as a terminal does: to all of them at once
    wait_until("it has ended", lambda: first.poll() is not None, 8)
    assert ended(first)[0] == 128 + signal.SIGINT


@pytest.mark.parametrize(("env", "bars"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_bars_are_for_terminals_that_want_them(demo: Demo, env: dict[str, str], bars: bool) -> None:
    demo.fill(6)
    ours, theirs = pty.openpty()
    first = subprocess.Popen(
        demo.command(), stdout=theirs, stderr=theirs, env=os.environ | {"TERM": "xterm"} | env
    )
    os.close(theirs)
    output = b""
    try:
        while chunk := os.read(ours, 4096):
            output += chunk
    except OSError:  # so Linux says that the other end was closed
        pass
    os.close(ours)
    assert first.wait(timeout=10) == 0
    assert ("━━".encode() in output) is bars
    assert (b"files recorded" in output) is not bars
    assert (b"\x1b[" in output) is bars
