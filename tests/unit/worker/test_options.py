"""The times and numbers of a worker that is embedded: the same rules as for the settings."""

from __future__ import annotations

import math
from typing import Any

import pytest

from xqueue_core import ConfigError
from xqueue_core.settings import Settings
from xqueue_core.worker.options import WorkerOptions


@pytest.mark.parametrize(("lease", "heartbeat"), [(1.0, 0.2), (4, 0.8), (15.0, 1.0), (60.0, 1.0)])
def test_the_heartbeat_follows_the_lease_that_counts(lease: float, heartbeat: float) -> None:
    assert WorkerOptions.of(Settings(), lease=lease).heartbeat == pytest.approx(heartbeat)
    assert WorkerOptions.of(Settings(lease=lease)).heartbeat == pytest.approx(heartbeat)


def test_a_heartbeat_that_was_set_stays() -> None:
    assert WorkerOptions.of(Settings(heartbeat=0.5), lease=4.0).heartbeat == 0.5
    assert WorkerOptions.of(Settings(), lease=4.0, heartbeat=0.3).heartbeat == 0.3


def test_what_is_fetched_ahead_follows_the_slots_that_count() -> None:
    assert WorkerOptions.of(Settings(), concurrency=8).prefetch == 2
    assert WorkerOptions.of(Settings(prefetch=5), concurrency=8).prefetch == 5


@pytest.mark.parametrize(
    ("settings", "given", "words"),
    [
        ({}, {"heartbeat": 14.0}, r"heartbeat = 14.0 \(a worker's option\): at most lease / 4 = "),
        ({}, {"lease": 4, "heartbeat": 1.1}, r"heartbeat = 1.1 .*at most lease / 4 = 1 seconds"),
        ({"heartbeat": 3.0}, {"lease": 4.0}, r"heartbeat = 3.0 \(keyword argument\): at most"),
        ({}, {"heartbeat": 0.0}, r"heartbeat = 0.0 \(a worker's option\): it must be above 0"),
        ({}, {"lease": math.nan}, r"lease = nan \(a worker's option\): it must be"),
        ({}, {"lease": math.inf}, "lease = inf .*it must be 86400 or less"),
        ({}, {"lease": 0.01}, r"lease = 0.01 .*it must be 0.05 or more \(Seconds without"),
        ({}, {"grace": -5}, "grace = -5 .*it must be 0 or more"),
        ({}, {"lease_wait": 301}, "lease_wait = 301 .*it must be 300 or less"),
        ({}, {"prefetch": -3}, "prefetch = -3 .*it must be 0 or more"),
        ({}, {"threads": 0}, "threads = 0 .*it must be 1 or more"),
        ({}, {"children": 0}, "children = 0 .*it must be 1 or more"),
        ({}, {"tasks_per_child": 0}, "tasks_per_child = 0 .*it must be 1 or more"),
        ({}, {"concurrency": 0}, "concurrency = 0 .*it must be 1 or more"),
        ({}, {"concurrency": 100_001}, "concurrency = 100001 .*it must be 100000 or less"),
        ({}, {"max_result": 0}, "max_result = 0 .*it must be 1 or more"),
    ],
)
def test_what_is_no_sound_number_is_refused(
    settings: dict[str, Any], given: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        WorkerOptions.of(Settings(**settings), **given)
