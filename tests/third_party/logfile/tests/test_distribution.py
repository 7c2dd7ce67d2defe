"""The backend stays small, and its distribution says what it is."""

from __future__ import annotations

import tomllib
from pathlib import Path

from xqueue_logfile import LogBackend  # type: ignore[import-not-found, unused-ignore]

from xqueue_core.calls import ALL_ABILITIES
from xqueue_core.plugins import BACKENDS

HERE = Path(__file__).parents[1]


def test_the_whole_backend_has_less_than_250_lines() -> None:
    texts = [path.read_text(encoding="utf-8") for path in (HERE / "xqueue_logfile").rglob("*.py")]
    assert 100 < sum(len(text.splitlines()) for text in texts) < 250  # blank ones as well


def test_it_needs_the_public_interfaces_alone() -> None:
    project = tomllib.loads((HERE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["entry-points"][BACKENDS] == {"logfile": "xqueue_logfile:LogBackend"}
    assert "xqueue-core" in project["dependencies"]
    modules = {
        line.split()[1]
        for path in (HERE / "xqueue_logfile").glob("*.py")
        for line in path.read_text(encoding="utf-8").splitlines()
        if line.startswith("from xqueue_")
    }
    public = ("xqueue_core.abc", "xqueue_core.calls", "xqueue_core.errors", "xqueue_core.stored")
    assert modules
    assert [name for name in modules if not name.startswith(public)] == []


def test_it_claims_everything() -> None:
    backend = LogBackend()
    found = backend.capabilities(backend.Settings(path="queue", dedupe_horizon=7.0))
    assert found.abilities == ALL_ABILITIES
    assert (found.shared, found.durable, found.dedupe_horizon) == (True, True, 7.0)
