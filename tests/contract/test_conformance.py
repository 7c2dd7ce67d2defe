"""Every backend of this repository that needs no server keeps the whole contract."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from contract.harnesses import every_harness
from xqueue_core.conformance import ConformanceSuite, Harness


@pytest.mark.timeout(300)
class TestConformance(ConformanceSuite):
    """Memory, and SQLite in both durability modes, on asyncio and uvloop."""

    at_once = 4

    @classmethod
    def harnesses(cls) -> Iterable[Harness]:
        """The three."""
        return every_harness()
