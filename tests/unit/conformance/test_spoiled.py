"""The cases about faults of broker and network pass on a sound client, and find unsound ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest

from support.socketstore.backend import Broker, SocketHarness
from unit.conformance.spoiled import CLIENTS, FullForAll, RoomForAll, Spoiled
from xqueue_core.conformance import Harness, Result, run


@pytest.fixture(scope="module")
def broker() -> Iterator[Broker]:
    """One server for all; those that spoil a server have their own."""
    made = Broker()
    yield made
    made.remove()


def results(harness: Harness, *ids: str) -> Mapping[str, Result]:
    """What the kit finds by these cases alone."""
    return run(harness, only=ids, at_once=4).results


@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", CLIENTS)
def test_a_spoiled_client_is_found(name: str, broker: Broker) -> None:
    pool, spoil, ids = CLIENTS[name]
    found = results(Spoiled(broker, pool, spoil), *ids)
    told = {id: one.message for id, one in found.items()}
    assert [id for id, one in found.items() if one.passed] == [], told
    # By what it does, and not by the time that the case has.
    assert not any(text.startswith("did not end within") for text in told.values()), told


@pytest.mark.parametrize("harness", [FullForAll, RoomForAll])
def test_a_server_without_room_is_found(harness: type[SocketHarness], broker: Broker) -> None:
    assert not results(harness(broker), "M129")["M129"].passed


@pytest.mark.timeout(120)
def test_a_server_that_loses_what_it_accepted_is_found() -> None:
    broker = Broker(lazy=True)
    try:
        found = results(SocketHarness(broker), "M126a")
    finally:
        broker.remove()
    assert not found["M126a"].passed
