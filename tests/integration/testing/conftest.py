"""Tests of ``app.testing()``: it has a broker of its own, so they run on both event loops only."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def nothing_stays() -> Iterator[None]:
    """No test leaves a thread behind."""
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        if thread.name.startswith("xqueue-"):
            thread.join(20)
            assert not thread.is_alive(), thread.name
