"""Counts the snippets that were executed, and says how many when the tests have ended."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from support.docs_page import Tally

_TALLY = pytest.StashKey[list[Tally]]()


@pytest.fixture
def counted(pytestconfig: pytest.Config) -> Callable[[Tally], None]:
    """To be told what a page has said of its snippets."""
    return pytestconfig.stash.setdefault(_TALLY, []).append


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """One line, if any page was run."""
    tallies = config.stash.get(_TALLY, [])
    if tallies:
        total = sum(tallies, Tally())
        terminalreporter.write_line(f"documentation: {total}, in {len(tallies)} runs of pages")
