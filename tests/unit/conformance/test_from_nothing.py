"""An answer that nobody but the broker can give is not believed while it is out of reach."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

import pytest

from support.socketstore.backend import Broker
from unit.conformance.from_nothing import FROM_NOTHING
from unit.conformance.spoiled import Spoiled
from xqueue_core.conformance import Result, run
from xqueue_core.conformance.every import CLAIMS

#: The cases in which the broker is out of reach.
OUTAGES = {"M126b", "M126c"}


@pytest.fixture(scope="module")
def broker() -> Iterator[Broker]:
    """One server for all."""
    made = Broker()
    yield made
    made.remove()


@pytest.fixture(scope="module")
def answered(broker: Broker) -> Mapping[str, Mapping[str, Result]]:
    """What is found of each client that answers from nothing. Most of the time is waiting."""

    def found(name: str) -> Mapping[str, Result]:
        spoil, beside = FROM_NOTHING[name]
        harness = Spoiled(broker, spoil=spoil)
        return run(harness, only={*OUTAGES, beside}, at_once=3).results

    with ThreadPoolExecutor(3) as pool:
        return dict(zip(FROM_NOTHING, pool.map(found, FROM_NOTHING), strict=True))


def test_each_call_that_claims_something_is_answered_from_nothing() -> None:
    assert FROM_NOTHING.keys() == CLAIMS


@pytest.mark.timeout(240)
@pytest.mark.parametrize("name", FROM_NOTHING)
def test_an_answer_without_the_broker_is_found(
    name: str, answered: Mapping[str, Mapping[str, Result]]
) -> None:
    found = answered[name]
    assert {id for id, one in found.items() if not one.passed} == OUTAGES
    told = f"{name} is not answered while nobody can be reached"
    assert [id for id in OUTAGES if told not in found[id].message] == []
