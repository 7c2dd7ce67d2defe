"""Who may import whom: the core no backend, a backend no other, and XQueue no pydantic."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CORE = ROOT / "xqueue_core"
PLUGINS = sorted(
    folder
    for parent in ("backends", "plugins")
    for folder in ROOT.glob(f"{parent}/*/xqueue_*")
    if folder.is_dir()
)

#: Packages that `import xqueue_core` leaves alone: they are slow, or not needed to submit.
LAZY = ("pydantic", "pydantic_core", "pydantic_settings", "stevedore", "click", "rich", "trio")
#: Folders of the core that serve tests, and may therefore import test tools.
FOR_TESTS = ("conformance", "testing")
TEST_TOOLS = {"pytest", "hypothesis", "_pytest"}


def imported(path: Path) -> Iterator[str]:
    """Every module that a file imports, at its top or within a function."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            # `from package import module` may import a module, too.
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def tops(folder: Path, *, but: tuple[str, ...] = ()) -> dict[str, set[str]]:
    """Top-level packages imported by each file of a folder."""
    return {
        path.relative_to(ROOT).as_posix(): {name.partition(".")[0] for name in imported(path)}
        for path in sorted(folder.rglob("*.py"))
        if path.relative_to(folder).parts[0] not in but
    }


def test_the_core_imports_no_plugin() -> None:
    for file, names in tops(CORE).items():
        others = {name for name in names if name.startswith("xqueue_")} - {"xqueue_core"}
        assert not others, file


@pytest.mark.parametrize("folder", PLUGINS, ids=lambda folder: str(folder.name))
def test_a_plugin_imports_the_core_and_no_other_plugin(folder: Path) -> None:
    for file, names in tops(folder).items():
        others = {name for name in names if name.startswith("xqueue_")}
        assert others <= {"xqueue_core", folder.name}, file


def test_one_module_alone_uses_stevedore() -> None:
    users = [file for file, names in tops(CORE).items() if "stevedore" in names]
    assert users == ["xqueue_core/plugins.py"]


def test_test_tools_do_not_reach_production() -> None:
    for folder in (CORE, *PLUGINS):
        for file, names in tops(folder, but=FOR_TESTS).items():
            assert not names & TEST_TOOLS, file


def test_importing_xqueue_loads_nothing_slow() -> None:
    code = (
        "import sys\n"
        "from xqueue_core import XQueue\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))\n"
    )
    # A process of its own, in which nobody has imported anything yet.
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not set(done.stdout.split()) & set(LAZY)
