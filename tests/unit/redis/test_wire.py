"""A command has the same bytes whoever packs it."""

from __future__ import annotations

from typing import Any

import pytest
from redis.asyncio.connection import Connection

from xqueue_redis import wire
from xqueue_redis.wire import Wire


@pytest.mark.parametrize(
    "command",
    [
        ("EVALSHA", "0" * 40, 1, "{xqueue}:meta", "a:1", b"\x00\r\n\xff", b"", "é"),
        ("BLPOP", "a", "b", "2.500"),
        ("SET", "a", -3, 2**63, 0.1 + 0.2, 1e22, 60.0),
        ("SET", "a", b"x" * 100_000),
    ],
)
def test_hiredis_packs_as_the_client_does(
    command: tuple[Any, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert wire.pack is not None  # the tests' environment has it
    by_hiredis = Wire(Connection())._packed(command)
    monkeypatch.setattr(wire, "pack", None)
    by_the_client = Wire(Connection())._packed(command)
    assert isinstance(by_the_client, list)
    assert b"".join(by_the_client) == by_hiredis
