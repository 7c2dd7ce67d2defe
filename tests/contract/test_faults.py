"""A backend over a real server keeps the contract when network and broker fail.

The server is one for tests (``support.socketstore``). What concerns time alone is left to the
backends of this repository: here every call takes several turns over a socket.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping

import pytest

from support.socketstore.backend import SocketHarness
from xqueue_core.conformance import Result, all_cases, choose, run_cases

#: The groups M, N and O as a whole, and some of the others: what a worker does from put to settle,
#: what comes after a failure, leases that end, ids, permits, events, processes that are killed.
OTHERS = {"B11", "C21", "C26", "C30", "D38", "D47", "E50", "E52", "E53", "E59", "F65", "H80"}
OTHERS |= {"H83", "J98", "J104", "P1.2a", "P1.2k", "P1.4a", "P3.1c", "P4.4a", "P4.5b"}
CASES = [one for one in all_cases() if one.id[0] in "MNO" or one.id in OTHERS]
#: Only these concern no backend with a server and all abilities.
NOT_CHOSEN = {"N136"}
#: Cases that run at the same time.
AT_ONCE = 4


def harness() -> SocketHarness:
    """Slow enough for leases of a second on a machine that does other things as well."""
    made = SocketHarness()
    made.time_scale = 2.0
    return made


@pytest.fixture(scope="module")
def results() -> Iterator[Mapping[str, Result]]:
    """All results, on one server."""
    logger, nothing = logging.getLogger("xqueue"), logging.NullHandler()
    logger.addHandler(nothing)
    made = harness()
    chosen = [one for one in CASES if one.id not in NOT_CHOSEN]
    try:
        yield {one.id: one for one in run_cases(made, chosen, at_once=AT_ONCE)}
    finally:
        made.broker.remove()
        logger.removeHandler(nothing)


def test_everything_about_faults_concerns_a_backend_with_a_server() -> None:
    made = harness()
    try:
        assert choose(made, CASES).not_chosen.keys() == NOT_CHOSEN
    finally:
        made.broker.remove()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("id", [one.id for one in CASES if one.id not in NOT_CHOSEN])
def test_it_holds_over_a_socket(id: str, results: Mapping[str, Result]) -> None:
    assert results[id].passed, results[id].message
