"""The rights in ``xqueue.acl`` are enough for what the kit does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

import services
from xqueue_core.conformance import BackendHarness, all_cases, run
from xqueue_core.conformance.cases import choose
from xqueue_redis import RedisBackend
from xqueue_redis.rights import users
from xqueue_redis.settings import RedisSettings

#: Of how many cases one is tried: each script is run by many of them.
ONE_OF = 6


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("kind", ["redis7", "valkey"])
def test_the_kit_is_content_with_the_least_rights(kind: str) -> None:
    # Each case has a namespace of its own.
    acl = f"{users('*', 'p4ss')}user default off\n"
    with services.redis(kind, aof=True, acl=acl, user="xqueue:p4ss") as server:

        def made(namespace: str, changes: Mapping[str, Any]) -> RedisSettings:
            user = {"username": "xqueue", "password": "p4ss"}
            given = {"namespace": namespace, "hosts": (f"127.0.0.1:{server.port}",), **user}
            return RedisSettings.model_validate({**given, **changes})

        harness = BackendHarness(RedisBackend(), made, name="redis with the least rights")
        chosen, _ = choose(harness, all_cases())
        report = run(harness, only=[one.id for one in chosen[::ONE_OF]], at_once=8)
    assert {id: one for id, one in report.results.items() if not one.passed} == {}
    assert len(report.results) > 40
