"""Distributions that are installed for a test, as far as Python can see."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest


class Site:
    """A folder in the path into which distributions can be put, as an installer does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def install(
        self, distribution: str, entry_points: str, *, module: str = "", extras: str = ""
    ) -> None:
        info = self.folder / f"{distribution.replace('-', '_')}-1.2.dist-info"
        info.mkdir()
        lines = [f"Provides-Extra: {extra}" for extra in extras.split()]
        head = ["Metadata-Version: 2.1", f"Name: {distribution}", "Version: 1.2", *lines]
        (info / "METADATA").write_text("\n".join(head) + "\n")
        (info / "entry_points.txt").write_text(entry_points)
        if module:
            name = distribution.replace("-", "_")
            (self.folder / f"{name}.py").write_text(module)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield Site(tmp_path)
    for name in set(sys.modules) - before:
        if name.startswith("xq_"):
            del sys.modules[name]
