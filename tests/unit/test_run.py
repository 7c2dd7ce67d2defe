"""``make test`` does not pass if a test was skipped, or a suite is not there."""

from __future__ import annotations

import importlib.util
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


def test_a_suite_that_is_not_there_fails_the_run(run: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "test_some.py").write_text("def test_runs(): pass\n")
    assert run.main([str(tmp_path / "test_some.py")]) != 0


def test_a_suite_that_dies_fails_the_run(run: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "third_party.py").write_text("import os; os.abort()")
    (tmp_path / "test_some.py").write_text("def test_runs(): pass\n")
    assert run.main([str(tmp_path / "test_some.py")]) > 0
