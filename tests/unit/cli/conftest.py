"""A working folder for commands."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from support.cli import Place


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A working folder with the tests' app in `jobs.py`, whose modules are forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "modules", {**sys.modules})
    return Place(tmp_path)
