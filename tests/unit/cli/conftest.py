"""A working folder for commands."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

# What settings are made of is imported once, before modules are forgotten: pydantic cannot be
# imported a second time beside what is left of the first.
import xqueue_core.settings  # noqa: F401
from support.cli import Place
from support.modules import forgotten


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """A working folder with the tests' app in `jobs.py`, whose modules are forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    with forgotten(tmp_path):
        yield Place(tmp_path)
