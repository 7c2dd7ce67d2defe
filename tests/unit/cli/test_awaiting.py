"""How a worker waits for its broker: what it says when, for how long, and how that is asked for."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import click
import pytest

from support.cli import Place, refused, run
from xqueue_core import XQueue
from xqueue_core.abc import Role
from xqueue_core.cli import awaiting
from xqueue_core.cli.awaiting import find_broker
from xqueue_core.cli.exits import NoBroker
from xqueue_core.cli.worker import worker
from xqueue_core.errors import BrokerGone, ConfigError, Refused, Unavailable, Unknown


class Broker:
    """Fails with these errors, one after another, and then answers; time goes by in its waits.

    Attributes:
        now: the time (seconds).
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *errors: Exception, every: float) -> None:
        self.errors = list(errors)
        self.now = 1_000.0
        self._every = every
        self.opened: Callable[[], None] = lambda: None
        self.app = XQueue("memory://")
        monkeypatch.setattr(self.app, "connect", self._connect)
        monkeypatch.setattr("xqueue_core.cli.awaiting.monotonic", lambda: self.now)
        monkeypatch.setattr("xqueue_core.worker.tools.Backoff.wait", self._wait)

    @asynccontextmanager
    async def _connect(self, role: Role | None = None) -> AsyncIterator[None]:
        self.opened()
        if self.errors:
            raise self.errors.pop(0)
        yield

    async def _wait(self) -> int:
        self.now += self._every
        await asyncio.sleep(0)
        return 0


def test_what_is_waited_for_is_said_again_ever_more_seldom(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    said: list[float] = []
    broker = Broker(monkeypatch, *[Unavailable("no answer")] * 300, every=1.0)
    monkeypatch.setattr(awaiting.logger, "warning", lambda *_: said.append(broker.now - 1_000.0))
    caplog.set_level(logging.INFO, "xqueue.worker")
    find_broker(broker.app, math.inf)
    assert said == [0, 5, 15, 35, 75, 135, 195, 255]
    assert caplog.messages == ["the broker answers, after 300.0 s"]


def test_a_broker_that_answers_is_not_told_of(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "xqueue.worker")
    for longest in (None, 0.0, 5.0, math.inf):
        find_broker(Broker(monkeypatch, every=1.0).app, longest)
    assert not caplog.messages


def test_a_line_of_the_broker_is_said_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Though it is opened at each try; what is said afterwards is said as ever."""
    broker = Broker(monkeypatch, *[Unavailable("no answer")] * 3, every=1.0)
    own = logging.getLogger("xqueue.sqlite")
    broker.opened = lambda: own.warning("database %s", "there")
    find_broker(broker.app, math.inf)
    assert caplog.messages.count("database there") == 1
    for _ in range(2):
        broker.opened()
    assert caplog.messages.count("database there") == 3


@pytest.mark.parametrize("error", [Unavailable("no answer"), Unknown("no answer")])
@pytest.mark.parametrize(
    ("longest", "says"),
    [
        (None, "no answer (--wait-for-broker waits for it)"),
        (0.0, "no answer (--wait-for-broker waits for it)"),
        (4.0, "no answer (given up after 4 s)"),
    ],
)
def test_it_gives_up(
    monkeypatch: pytest.MonkeyPatch, error: Exception, longest: float | None, says: str
) -> None:
    broker = Broker(monkeypatch, *[error] * 10, every=1.0)
    with pytest.raises(NoBroker) as told:
        find_broker(broker.app, longest)
    assert str(told.value) == says
    assert broker.now == 1_000.0 + (longest or 0.0)


@pytest.mark.parametrize("error", [ConfigError("wrong"), Refused("no"), BrokerGone(), OSError(1)])
def test_what_no_wait_would_heal_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    with pytest.raises(type(error)):
        find_broker(Broker(monkeypatch, Unavailable(), error, every=1.0).app, math.inf)


@pytest.mark.parametrize(
    ("words", "app", "longest"),
    [
        ("", None, None),
        ("jobs.py", "jobs.py", None),
        ("--wait-for-broker", None, math.inf),
        ("--wait-for-broker jobs.py", "jobs.py", math.inf),
        ("--wait-for-broker jobs:app --burst", "jobs:app", math.inf),
        ("jobs.py --wait-for-broker --burst", "jobs.py", math.inf),
        ("--wait-for-broker forever jobs.py", "jobs.py", math.inf),
        ("--wait-for-broker=forever jobs.py", "jobs.py", math.inf),
        ("--wait-for-broker 90 jobs.py", "jobs.py", 90.0),
        ("jobs.py --wait-for-broker=1m30s", "jobs.py", 90.0),
    ],
)
def test_the_option_may_stand_without_a_duration(
    words: str, app: str | None, longest: float | None
) -> None:
    context = worker.make_context("worker", words.split())
    assert (context.params["app"], context.params["wait_for_broker"]) == (app, longest)


@pytest.mark.parametrize("said", ["9x", "=soon", "=-1", "="])
def test_what_is_no_duration_is_refused(said: str) -> None:
    words = [f"--wait-for-broker{said}"] if said[0] == "=" else ["--wait-for-broker", said]
    with pytest.raises(click.UsageError, match="is no duration"):
        worker.make_context("worker", words)


def test_a_worker_that_may_wait_ends_as_ever(place: Place) -> None:
    place.submit("greet", name="you")
    run("worker", "--wait-for-broker", "jobs.py", "--burst", "--log-level", "error")
    run("worker", "jobs.py", "--wait-for-broker", "--burst", "--url", "memory://")


def test_a_scheme_that_nothing_serves_is_not_waited_for(place: Place) -> None:
    words = ("worker", "jobs.py", "--wait-for-broker", "--url", "radish://somewhere")
    refused(*words, code=2, says="radish")
