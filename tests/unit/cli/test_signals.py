"""Signals to a worker, and to processes that its tasks have forked."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading

import pytest

from support.forks import FORK_WARNING
from xqueue_core.cli.signals import SAME, heeded, stopper

pytestmark = pytest.mark.filterwarnings(FORK_WARNING)


def test_two_signals_in_quick_succession_are_one_wish() -> None:
    times = iter((10.0, 10.0 + SAME / 2, 10.0 + 2 * SAME))
    wishes: list[int] = []
    handle = stopper(lambda: wishes.append(1), lambda: next(times))
    for wanted in (1, 1, 2):
        handle(signal.SIGTERM, None)
        assert len(wishes) == wanted


def _wait(ready: threading.Event) -> None:
    ready.set()
    threading.Event().wait(30)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_forked_child_of_a_task_ends_by_a_signal_as_ever(signum: signal.Signals) -> None:
    wishes: list[int] = []
    fork = multiprocessing.get_context("fork")
    with heeded(lambda: wishes.append(1)):
        ready = fork.Event()
        child = fork.Process(target=_wait, args=(ready,))
        child.start()
        assert ready.wait(10)
        assert child.pid is not None
        os.kill(child.pid, signum)
        child.join(10)
    assert child.exitcode is not None
    assert child.exitcode != 0
    assert not wishes
