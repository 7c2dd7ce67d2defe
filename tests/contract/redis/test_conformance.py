"""Redis keeps the whole contract, on every server that it is promised for."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from contract.redis.harnesses import redis_harnesses
from xqueue_core.conformance import ConformanceSuite, Harness


@pytest.mark.timeout(300)
class TestConformance(ConformanceSuite):
    """Redis 7.0, the oldest that will do, Redis 8 and Valkey 9."""

    at_once = 4

    @classmethod
    def harnesses(cls) -> Iterable[Harness]:
        """One of each."""
        return redis_harnesses()
