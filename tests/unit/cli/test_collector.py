"""A worker process spares the garbage collector what it need not look at."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from xqueue_core.cli.running import YOUNG, calmer_collector


@pytest.fixture(autouse=True)
def _thresholds() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)
    gc.unfreeze()


@pytest.mark.parametrize(("given", "within"), [(700, YOUNG), (YOUNG + 1, YOUNG + 1), (0, 0)])
def test_the_threshold_is_raised_unless_the_app_set_it(given: int, within: int) -> None:
    gc.set_threshold(given, 10, 10)
    with calmer_collector():
        assert gc.get_threshold() == (within, 10, 10)
        assert gc.get_freeze_count() > 1_000
    assert gc.get_threshold() == (given, 10, 10)
    assert gc.get_freeze_count() == 0
