"""The kit under pytest: an author's twenty lines, reports, and no silent skip."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

AUTHORS = """
from xqueue_core.conformance import BackendHarness, ConformanceSuite
from xqueue_memory import MemoryBackend

def harness():
    backend = MemoryBackend()
    def settings(namespace, changes):
        return backend.Settings(namespace=namespace, **changes)
    return BackendHarness(backend, settings, name="mine")

class TestMine(ConformanceSuite):
    at_once = 4

    @classmethod
    def harnesses(cls):
        yield harness()
"""

SKIPPING = """
import pytest

@pytest.fixture(autouse=True)
def skips(request):
    if "B11" in request.node.name:
        pytest.skip("not today")
"""


def run_pytest(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run an author's module with the plugin, away from this repository's settings."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "xqueue_core.conformance"]
    command += ["-p", "no:cacheprovider", "--rootdir", str(folder), "--conformance-dir", "out"]
    command += ["-c", "/dev/null", "test_mine.py", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_an_authors_module(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text(AUTHORS)
    done = run_pytest(tmp_path, "-k", "B11 or C21")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout
    why = "not chosen, as this backend keeps nothing when everything is closed: "
    [told] = [line for line in done.stdout.splitlines() if line.startswith(why)]
    assert "F65" in told.removeprefix(why).split(", ")
    report = json.loads((tmp_path / "out" / "mine-asyncio.json").read_text())
    assert [one["id"] for one in report["results"]] == ["B11", "C21"]
    assert report["partial"] == "some cases were deselected"
    assert report["ok"] is False


def test_a_claimed_case_that_is_skipped_fails_the_session(tmp_path: Path) -> None:
    shorter = AUTHORS.replace(
        "class TestMine",
        "from xqueue_core.conformance import suite, cases\n"
        "few = [one for one in cases.all_cases() if one.group == 'payload']\n"
        "suite.choose = lambda harness: cases.choose(harness, few)\n"
        "class TestMine",
    )
    (tmp_path / "test_mine.py").write_text(shorter + SKIPPING)
    done = run_pytest(tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "1 skipped" in done.stdout
    assert "NOT RUN B11, although the backend claims it" in done.stdout


def test_the_plugin_is_opt_in(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text("def test_it(): pass\n")
    command = [sys.executable, "-m", "pytest", "-q", "-c", "/dev/null", "test_mine.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "conformance" not in done.stdout
