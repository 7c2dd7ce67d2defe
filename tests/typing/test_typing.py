"""Users' code is typed by the handlers they wrote: right calls pass, wrong ones do not."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]

pytestmark = pytest.mark.timeout(300)


def mypy(file: Path, scratch: Path) -> dict[int, str]:
    """The lines of a file that mypy --strict refuses, each with its message."""
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--output=json"]
    done = _run([*command, "--follow-imports=silent", str(file)])
    found: dict[int, str] = {}
    for line in done.stdout.splitlines():
        item = json.loads(line)
        assert Path(item["file"]).name == file.name, item
        if item["severity"] == "error":
            found[item["line"]] = item["message"]
    assert done.returncode == bool(found), done.stdout + done.stderr
    return found


def pyright(file: Path, scratch: Path) -> dict[int, str]:
    """The lines of a file that pyright refuses in its strict mode, each with its message."""
    # A project of its own: that of the repository leaves the wrong calls out, even when asked.
    project = scratch / "pyrightconfig.json"
    settings = {
        "include": [os.path.relpath(file, scratch)],
        "extraPaths": [str(ROOT)],
        "typeCheckingMode": "strict",
        "pythonVersion": "3.11",
    }
    project.write_text(json.dumps(settings), encoding="utf-8")
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable]
    done = _run([*command, "--project", str(project)])
    report = json.loads(done.stdout)
    assert report["summary"]["filesAnalyzed"] == 1, done.stdout
    return {
        item["range"]["start"]["line"] + 1: item["message"]
        for item in report["generalDiagnostics"]
        if item["severity"] == "error"
    }


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    # pyright must not go and ask for a newer version of itself.
    environment = {**os.environ, "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"}
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


Check = Callable[[Path, Path], dict[int, str]]
CHECKERS = [pytest.param(mypy, id="mypy"), pytest.param(pyright, id="pyright")]


@pytest.mark.parametrize("page", ["good.py", "rehearsed.py"])
@pytest.mark.parametrize("check", CHECKERS)
def test_right_calls_pass(check: Check, page: str, tmp_path: Path) -> None:
    assert check(HERE / page, tmp_path) == {}


@pytest.mark.parametrize("check", CHECKERS)
def test_wrong_calls_are_refused_and_nothing_else(check: Check, tmp_path: Path) -> None:
    file = HERE / "wrong.py"
    lines = file.read_text(encoding="utf-8").splitlines()
    marked = {number for number, line in enumerate(lines, 1) if re.search(r"# wrong: ", line)}
    reasons = {line.partition("# wrong: ")[2] for line in lines} - {""}
    # Distinct by what is called and by what is wrong with it, not by a name in the arguments.
    assert len(marked) >= 80
    assert len(reasons) >= 60
    found = check(file, tmp_path)
    assert set(found) == marked, found
