"""The tree and what the tools are told about it agree; files and functions stay small."""

from __future__ import annotations

import ast
import os
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
#: Folders with Python code of ours; some are made as the project grows.
CODE = ("xqueue_core", "backends", "plugins", "tests", "benchmarks", "examples", "deploy", "docs")
#: Folders that tools and builds leave in the tree.
NOT_OURS = {"__pycache__", "build", "dist", "node_modules", "htmlcov"}

#: Most lines of a file, and most of a function without its docstring.
FILE_LINES = 400
FUNCTION_LINES = 60


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def ours(*tops: str) -> Iterator[Path]:
    """Every file of the project below these folders, or below all."""
    for top in tops or ("",):
        for folder, folders, files in os.walk(ROOT / top):
            folders[:] = [
                name
                for name in folders
                if name not in NOT_OURS and (not name.startswith(".") or name == ".ci")
            ]
            # In a worktree `.git` is a file that names a place on this machine.
            yield from (Path(folder) / name for name in files if name != ".git")


def sources() -> list[Path]:
    return sorted(path for path in ours(*CODE) if path.suffix == ".py")


def import_packages() -> set[str]:
    """Folders that hold an import package of ours."""
    folders = [
        ROOT / "xqueue_core",
        *ROOT.glob("backends/*/xqueue_*"),
        *ROOT.glob("plugins/*/xqueue_*"),
    ]
    return {
        folder.relative_to(ROOT).as_posix()
        for folder in folders
        if folder.is_dir() and any(folder.glob("*.py"))
    }


def parents(packages: set[str]) -> set[str]:
    return {str(Path(package).parent.as_posix()) for package in packages}


# -- what the tools are told -----------------------------------------------------------------


def test_the_wheel_holds_every_import_package() -> None:
    packages = project()["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert set(packages) == import_packages()
    assert len(packages) == len(set(packages))


def test_type_checkers_look_where_the_packages_are() -> None:
    tool = project()["tool"]
    expected = parents(import_packages()) | {"tests"}
    base = "$MYPY_CONFIG_FILE_DIR"
    mypy_path = {
        path.removeprefix(base).lstrip("/") or "."
        for path in tool["mypy"]["mypy_path"]
        if path.startswith(base)
    }
    assert mypy_path == expected
    assert len(tool["mypy"]["mypy_path"]) == len(expected)
    assert set(tool["pyright"]["extraPaths"]) == expected
    assert import_packages() <= set(tool["mypy"]["files"])


def test_entry_points_name_packages_of_the_wheel() -> None:
    metadata = project()["project"]
    names = {Path(package).name for package in import_packages()}
    groups = metadata["entry-points"]
    assert set(groups) <= {f"xqueue.{kind}" for kind in KINDS}
    targets = [target for group in groups.values() for target in group.values()]
    for target in [*targets, *metadata["scripts"].values()]:
        assert target.partition(":")[0].partition(".")[0] in names, target
    named = {target.partition(":")[0].partition(".")[0] for target in targets}
    assert named == names - {"xqueue_core"}, "a plugin's package that no entry point names"


KINDS = ("backends", "notifiers", "plugins", "serializers")


def test_imports_are_sorted_with_our_packages_as_ours() -> None:
    known = project()["tool"]["ruff"]["lint"]["isort"]["known-first-party"]
    assert known == sorted(Path(package).name for package in import_packages())


def test_every_folder_of_a_plugin_has_one_package_named_like_it() -> None:
    for parent in ("backends", "plugins"):
        for folder in (ROOT / parent).iterdir():
            if folder.is_dir() and folder.name not in NOT_OURS:
                packages = [one.name for one in folder.glob("xqueue_*") if any(one.glob("*.py"))]
                assert packages == [f"xqueue_{folder.name}"], folder


def test_an_entry_point_and_its_extra_are_named_like_its_folder() -> None:
    metadata = project()["project"]
    for group, entries in metadata["entry-points"].items():
        parent = "backends" if group == "xqueue.backends" else "plugins"
        for name, target in entries.items():
            package = target.partition(":")[0].partition(".")[0]
            folder = package.removeprefix("xqueue_")
            # One may have other names beside its own, for other schemes of its URLs.
            assert entries[folder] == target, f"{group}: {name}"
            assert (ROOT / parent / folder / package).is_dir(), f"{group}: {name}"
            if parent == "plugins":
                assert name in metadata["optional-dependencies"]


def test_all_extras_are_in_all() -> None:
    extras = project()["project"]["optional-dependencies"]
    (everything,) = extras["all"]
    listed = set(everything.partition("[")[2].rstrip("]").split(","))
    tools = {"dev", "docs"}
    assert listed == set(extras) - {"all"} - tools


def test_every_plugin_says_what_it_is() -> None:
    for parent in parents(import_packages()) - {"."}:
        assert (ROOT / parent / "README.md").is_file(), f"{parent} has no README.md"


def test_every_package_is_typed() -> None:
    for package in import_packages():
        assert (ROOT / package / "py.typed").is_file(), f"{package} has no py.typed"


# -- sizes -----------------------------------------------------------------------------------


def test_files_are_short() -> None:
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in sources()}
    long = {path.relative_to(ROOT).as_posix(): n for path, n in lengths.items() if n > FILE_LINES}
    assert not long, f"longer than {FILE_LINES} lines"


def test_functions_are_short() -> None:
    long = {
        f"{path.relative_to(ROOT).as_posix()}:{node.lineno} {node.name}": length
        for path in sources()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (length := code_lines(node)) > FUNCTION_LINES
    }
    assert not long, f"longer than {FUNCTION_LINES} lines"


def code_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function, its docstring left out: explaining more is never a fault."""
    total = (function.end_lineno or function.lineno) - function.lineno + 1
    first = function.body[0]
    if ast.get_docstring(function) is not None:
        total -= (first.end_lineno or first.lineno) - first.lineno + 1
    return total


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("def f():\n    pass", 2),
        ('def f():\n    """A.\n\n    B.\n    """\n    pass', 2),
        ("@d\nasync def f(\n    a,\n):\n    pass", 4),
    ],
)
def test_code_lines(text: str, length: int) -> None:
    (function,) = ast.parse(text).body
    assert isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
    assert code_lines(function) == length


# -- what belongs to one machine -------------------------------------------------------------

# Spelled in parts, so that this file does not find itself.
HOSTS = ("py" + "pi.org", "python" + "hosted.org", "npm" + "js.org", "crates" + ".io")
PATHS = ("ro" + "ot", "wo" + "rk", "ho" + "me", "Us" + "ers")
MACHINE = re.compile(
    "|".join(map(re.escape, HOSTS)) + rf"|(?<![\w.~$}}/-])/(?:{'|'.join(PATHS)})/\w"
)


def test_no_file_names_a_registry_or_a_place_on_one_machine() -> None:
    found = []
    for path in ours():
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError:
            continue
        name = path.relative_to(ROOT).as_posix()
        found += [f"{name}:{n} {line}" for n, line in enumerate(lines, 1) if MACHINE.search(line)]
    assert not found


@pytest.mark.parametrize("path", PATHS)
def test_places_on_one_machine_are_recognised(path: str) -> None:
    assert MACHINE.search(f"cd /{path}/x")
    assert MACHINE.search(f"'/{path}/x'")
    assert not MACHINE.search(f"https://example.org/{path}/x")
    assert not MACHINE.search(f"./{path}/x")
