"""Hooks by which ``-p xqueue_core.conformance`` adds the recorder to a pytest session."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from xqueue_core.conformance.suite import Recorder

if TYPE_CHECKING:
    import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--conformance-dir``."""
    group = parser.getgroup("xqueue conformance")
    group.addoption(
        "--conformance-dir",
        metavar="DIR",
        default=None,
        help="write a JSON report for each backend and event loop into this folder",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Register the recorder."""
    folder = config.getoption("--conformance-dir")
    config.pluginmanager.register(Recorder(Path(folder) if folder else None), "xqueue-conformance")
