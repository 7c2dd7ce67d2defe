"""``make test`` runs everything, and passes only if no test was skipped and no suite is missing."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

#: One test of each kind.
TESTS = """
import pytest
def test_runs(): pass
def test_skips(): pytest.skip("no such thing here")
@pytest.mark.xfail(reason="known")
def test_known(): assert False
"""


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """The script, over a tree of its own."""
    path = Path(__file__).parents[1] / "run.py"
    spec = importlib.util.spec_from_file_location("xq_tests_run", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setenv("CONFORMANCE_DIR", str(tmp_path / "reports"))
    monkeypatch.setenv("PYTHONPATH", str(module.ROOT))
    monkeypatch.setattr(module, "THIRD_PARTY", tmp_path / "third_party.py")
    return module


def test_a_skipped_test_fails_the_run(
    run: ModuleType, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "third_party.py").write_text("")
    (tmp_path / "test_some.py").write_text(TESTS)
    one = f"{tmp_path / 'test_some.py'}"
    assert run.main([one, "-k", "runs"]) == 0
    assert "counts as a failure" not in capfd.readouterr().err
    assert run.main([one]) == 1
    said = capfd.readouterr().err
    assert "test_some.test_skips (no such thing here)" in said
    assert "test_some.test_known (known)" in said
    assert "test_runs" not in said


def test_what_failed_is_named_again_at_the_end(
    run: ModuleType, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "third_party.py").write_text("")
    (tmp_path / "test_some.py").write_text(
        "def test_fine(): pass\ndef test_bad(): assert 1 == 2, 'sum'\n"
    )
    assert run.main([f"{tmp_path / 'test_some.py'}"]) == 1
    said = capfd.readouterr().err
    assert "failed: " in said
    assert "test_some.test_bad\n" in said
    assert "AssertionError: sum" in said
    assert "test_fine" not in said


def test_a_suite_that_is_not_there_fails_the_run(run: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "test_some.py").write_text("def test_runs(): pass\n")
    assert run.main([str(tmp_path / "test_some.py")]) != 0


def test_a_suite_that_dies_fails_the_run(run: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "third_party.py").write_text("import os; os.abort()")
    (tmp_path / "test_some.py").write_text("def test_runs(): pass\n")
    assert run.main([str(tmp_path / "test_some.py")]) > 0


def test_every_test_is_in_one_part(run: ModuleType, tmp_path: Path) -> None:
    lanes, shared, alone = run.everything(tmp_path)
    groups = (*lanes, shared, alone)
    names = [name for group in groups for name in group]
    assert len(names) == len(set(names))
    parts = {name: command for group in groups for name, command in group.items()}
    assert str(run.THIRD_PARTY) in parts.pop("third party")
    assert str(run.GUIDE) in parts.pop("author's guide")
    tests = run.ROOT / "tests"
    left_out = {one.partition("=")[2] for one in parts.pop("rest") if "--ignore" in one}
    assert left_out == {str(tests / name) for name in parts}
    for name, command in parts.items():
        assert (tests / name).is_dir()
        assert str(tests / name) in command


def script(folder: Path, name: str, text: str) -> list[str]:
    """A command that runs this script."""
    (folder / name).write_text(text)
    return [sys.executable, str(folder / name)]


def test_what_runs_side_by_side_is_shown_part_by_part(
    run: ModuleType, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    met = tmp_path / "met"
    waits = f"import pathlib\nwhile not pathlib.Path({str(met)!r}).exists(): pass\nprint('waited')"
    lanes = [
        {"waits": script(tmp_path, "waits.py", waits)},
        {
            "fails": script(tmp_path, "fails.py", "print('failed'); exit(3)"),
            "goes on": script(tmp_path, "goes_on.py", f"open({str(met)!r}, 'w'); print('went on')"),
        },
    ]
    assert run.SideBySide(tmp_path, lanes).run() == {"fails": 3, "goes on": 0, "waits": 0}
    said = [line for line in capfd.readouterr().out.splitlines() if line]
    assert said[:2] == ["== fails", "failed"]
    assert said[2].startswith("== fails: FAILED (exit code 3), ")
    for name, text in (("goes on", "went on"), ("waits", "waited")):
        begin = said.index(f"== {name}")
        assert said[begin + 1] == text
        assert said[begin + 2].startswith(f"== {name}: passed, ")


def test_a_lane_that_has_ended_takes_what_is_shared(run: ModuleType, tmp_path: Path) -> None:
    (first, second) = (tmp_path / name for name in ("first", "second"))
    waits = f"import pathlib\nwhile not pathlib.Path({str(second)!r}).exists(): pass"
    lanes = [{"waits": script(tmp_path, "waits.py", waits)}, {}]
    shared = {
        one.name: script(tmp_path, f"{one.name}.py", f"open({str(one)!r}, 'w')")
        for one in (first, second)
    }
    assert run.SideBySide(tmp_path, lanes, shared).run() == {"first": 0, "second": 0, "waits": 0}


def test_what_is_shown_live_is_not_broken_in_upon(
    run: ModuleType, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    other = run.SideBySide(tmp_path, [])._said("other")
    # It ends when the other has said all.
    live = (
        f"import time, pathlib\nprint('begins', flush=True)\nother = pathlib.Path({str(other)!r})\n"
    )
    live += "while not (other.exists() and other.read_text()): pass\ntime.sleep(0.2)\nprint('ends')"
    lanes = [
        {"live": script(tmp_path, "live.py", live)},
        {"other": script(tmp_path, "other.py", "print('other')")},
    ]
    run.SideBySide(tmp_path, lanes, live="live").run()
    said = capfd.readouterr().out.splitlines()
    assert said[:2] == ["begins", "ends"]
    assert "other" in said[2:]


def test_interrupted_it_kills_what_runs_and_shows_what_that_has_said(
    run: ModuleType, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    ready = tmp_path / "ready"
    hangs = f"import signal\nprint('so far', flush=True)\nopen({str(ready)!r}, 'w')\nsignal.pause()"
    ends = f"""
import os, pathlib, signal
while not pathlib.Path({str(ready)!r}).exists(): pass
os.kill(os.getppid(), signal.SIGTERM)
"""
    lanes = [
        {"hangs": script(tmp_path, "hangs.py", hangs), "never": ["false"]},
        {"ends": script(tmp_path, "ends.py", ends)},
    ]
    with pytest.raises(SystemExit) as ended:
        run.SideBySide(tmp_path, lanes).run()
    assert ended.value.code == 128 + 15
    said = capfd.readouterr().out
    assert "so far\n" in said
    assert "== hangs: FAILED (exit code -9)" in said
    assert "never" not in said


def test_bytecode_is_written_even_where_nobody_else_writes_it(
    run: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setattr(run, "ROOT", tmp_path)
    monkeypatch.setattr(run, "CODE", ["code", "none"])
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "fine.py").write_text("")
    (tmp_path / "code" / "wrong.py").write_text("(")
    run.compile_code()
    assert [one.name.partition(".")[0] for one in tmp_path.glob("code/__pycache__/*")] == ["fine"]
    assert capfd.readouterr() == ("", "")
