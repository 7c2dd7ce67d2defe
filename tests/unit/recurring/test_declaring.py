"""``@app.every`` and ``@app.cron``."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from support.apps import make_app
from xqueue_core import ConfigError, Context, XQueue
from xqueue_core.ids import Uuid7
from xqueue_core.recurring.schedule import LATE, MOST, Recurring
from xqueue_core.task import Slot


@pytest.fixture
def app() -> XQueue:
    return make_app()


def only(app: XQueue) -> Recurring:
    [one] = app.schedules.values()
    return one


def test_above_a_handler_which_stays_what_it_is(app: XQueue) -> None:
    @app.task(priority=4, process_timeout=7)
    async def tick(ctx: Context, text: str, times: int = 1) -> str:
        return text * times

    again = app.every(timedelta(minutes=1), args=("a",), kwargs={"times": 3}, max_retry=0)(tick)
    assert again is tick
    one = only(app)
    assert one.name == "tick every 60s"
    task = one.task(120.0, 5, Uuid7())
    assert task.slot == Slot(one.name, 5, 120.0)
    assert (task.run_at, task.priority, task.max_retry) == (120.0, 4, 0)
    assert task.process_timeout == 7.0
    assert json.loads(task.payload) == {"text": "a", "times": 3}


def test_above_a_plain_function_which_it_declares(app: XQueue) -> None:
    class Local: ...

    @app.every(60)
    async def tick(thing: Local | None = None) -> int:
        return 3

    assert tick.name == "tick"
    assert list(app.handlers) == ["tick"]

    @app.cron("0 9 * * *", tz="Europe/Berlin")
    @app.every(60, offset=1)
    def tock() -> None: ...

    assert list(app.schedules) == [
        "tick every 60s",
        "tock every 60s offset 1s",
        "tock cron 0 9 * * * Europe/Berlin",
    ]


def test_all_tasks_of_a_schedule_share_the_hash_in_their_token(app: XQueue) -> None:
    @app.every(5, overlap="allow")
    @app.every(6)
    async def tick() -> None: ...

    six, five = app.schedules.values()
    uuid = Uuid7()
    tasks = [one.task(30.0 * n, 1, uuid) for one in (five, six) for n in range(5)]
    assert len({task.id for task in tasks}) == 10
    tokens = [task.id.partition(":k")[2].partition("~")[0] for task in tasks]
    assert len(set(tokens[:5])) == len(set(tokens[5:])) == 1
    assert tokens[0] != tokens[5]
    assert {task.unique_key for task in tasks[:5]} == {None}
    assert {task.unique_key for task in tasks[5:]} == {tokens[5]}
    assert not any(task.remember for task in tasks)


def test_a_types_delay_is_not_added_to_the_slot(app: XQueue) -> None:
    @app.every(5)
    @app.task(delay=60)
    async def tick() -> None: ...

    task = only(app).task(30.0, 1, Uuid7())
    assert (task.run_at, task.delay) == (30.0, 0.0)


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"name": "a b"}, "a schedule's name is"),
        ({"name": ""}, "a schedule's name is"),
        ({"name": 5}, "a schedule's name is"),
        ({"missed": "some"}, "missed is one of latest, all, skip, not 'some'"),
        ({"overlap": "queue"}, "overlap is one of skip, allow, not 'queue'"),
        ({"missed": "all", "overlap": "skip"}, "needs overlap='allow'"),
        ({"delay": 5}, "no option 'delay'"),
        ({"unique_key": "a"}, "no option 'unique_key'"),
        ({"prioritty": 5}, "no option 'prioritty'; did you mean 'priority'"),
        ({"timeout": 5}, "'timeout'; did you mean 'process_timeout' or 'queue_timeout'"),
        ({"overlaps": "skip"}, "'overlaps'; did you mean 'overlap'"),
        ({"tz": "UTC"}, r"'tz' \(known: args, headers, kwargs, max_retry, missed, name, offset, "),
        ({"priority": 10}, "priority.*0 to 9"),
        ({"args": "text"}, "args is a tuple"),
        ({"args": 5}, "args is a tuple"),
        ({"kwargs": [1]}, "kwargs maps"),
        ({"args": (1,)}, "do not fit 'tick'.*Expected `str`"),
        ({"kwargs": {"texxt": "a"}}, "do not fit 'tick'"),
        ({"args": ("a", "b")}, "do not fit 'tick'.*1 positional"),
        ({"args": ("x" * 600_000,)}, "600"),
    ],
)
def test_what_is_wrong_is_said_where_it_is_declared(
    app: XQueue, options: dict[str, Any], what: str
) -> None:
    @app.task
    async def tick(text: str = "a") -> None: ...

    with pytest.raises(ConfigError, match=what):
        app.every(60, **options)(tick)
    assert not app.schedules


def test_an_argument_that_is_missing_is_noticed(app: XQueue) -> None:
    with pytest.raises(ConfigError, match=r"do not fit 'tick'.*`text`"):

        @app.every(60)
        async def tick(text: str) -> None: ...


def test_a_name_is_taken_once(app: XQueue) -> None:
    @app.every(60, name="minutely")
    @app.every(60)
    @app.task
    async def tick(text: str = "a") -> None: ...

    with pytest.raises(ConfigError, match=r"'tick every 60s' is declared twice.*name="):
        app.every(60, args=("b",))(tick)
    with pytest.raises(ConfigError, match="'minutely' is declared twice"):
        app.cron("* * * * *", name="minutely")(tick)
    app.every(60, args=("b",), name="other")(tick)


def test_another_apps_handler_is_refused(app: XQueue) -> None:
    @make_app().task
    async def tick() -> None: ...

    with pytest.raises(ConfigError, match="declared by another app"):
        app.every(60)(tick)
    with pytest.raises(ConfigError, match="a handler is a function"):
        app.every(60)(tick.options(priority=3))  # type: ignore[call-overload]


def test_an_annotation_that_is_defined_further_down(app: XQueue) -> None:
    @app.every(60, args=(3,))
    async def tick(size: Size) -> None: ...  # type: ignore[name-defined] # noqa: F821

    with pytest.raises(ConfigError, match="Size"):
        only(app).task(60.0, 1, Uuid7())


class TestDue:
    """Which slots are fired when some were missed."""

    def declared(self, app: XQueue, **options: Any) -> Recurring:
        @app.every(10, **options)
        async def tick() -> None: ...

        return only(app)

    def test_nothing_is_due_before_its_time(self, app: XQueue) -> None:
        one = self.declared(app)
        assert one.due(100.0, 109.999) == []
        assert one.due(100.0, 110.0) == [110.0]
        assert one.due(200.0, 110.0) == [], "the broker's clock was set back"

    def test_latest(self, app: XQueue) -> None:
        assert self.declared(app).due(100.0, 1e6 + 5) == [1e6]

    def test_all_up_to_a_number(self, app: XQueue) -> None:
        one = self.declared(app, missed="all")
        assert one.overlap == "allow"
        assert one.due(100.0, 139.0) == [110.0, 120.0, 130.0]
        assert one.due(100.0, 1e6) == [1e6 - 10.0 * n for n in range(MOST)][::-1]

    def test_skip(self, app: XQueue) -> None:
        one = self.declared(app, missed="skip")
        assert one.due(100.0, 115.0) == [110.0]
        other = make_app()

        @other.cron("0 * * * *", missed="skip")
        async def hourly() -> None: ...

        assert only(other).due(100.0, 3600.0 + LATE) == [3600.0]
        assert only(other).due(100.0, 3600.1 + LATE) == []


def test_a_task_by_hand_makes_the_same_call_beside_the_schedule(app: XQueue) -> None:
    @app.every(60, args=("a",), priority=6)
    @app.task(delay=9)
    async def tick(text: str) -> None: ...

    uuid = Uuid7()
    first, second = (only(app).task_now(uuid) for _ in range(2))
    assert (first.slot, first.run_at, first.unique_key, first.delay) == (None, None, None, 0.0)
    assert (first.type, first.priority, json.loads(first.payload)) == ("tick", 6, {"text": "a"})
    assert first.id != second.id
    assert "~" not in first.id  # no hash of the schedule in it
