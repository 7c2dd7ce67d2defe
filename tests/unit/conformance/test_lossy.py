"""What clients do wrong when a reply gets lost is found, call by call."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.socketstore.backend import Broker
from unit.conformance.lossy import LOSSY
from unit.conformance.spoiled import Spoiled
from xqueue_core.conformance import run


@pytest.fixture(scope="module")
def broker() -> Iterator[Broker]:
    """One server for all."""
    made = Broker()
    yield made
    made.remove()


@pytest.mark.timeout(120)
@pytest.mark.parametrize("id", LOSSY)
def test_a_wrong_answer_to_a_lost_reply_is_found(id: str, broker: Broker) -> None:
    [found] = run(Spoiled(broker, spoil=LOSSY[id]), only={id}).results.values()
    assert not found.passed
    assert not found.message.startswith("did not end within")
