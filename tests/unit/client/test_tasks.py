"""``Tasks()``: what a library declares, and what an app that includes it makes of that."""

from __future__ import annotations

from typing import Any

import pytest

from xqueue_core import ConfigError, Context, InvalidTask, Tasks, XQueue


@pytest.fixture
def app() -> XQueue:
    return XQueue("memory://")


@pytest.fixture
def tasks() -> Tasks:
    return Tasks()


def library(tasks: Tasks) -> Any:
    @tasks.task(max_retry=7, key="user_{user}", key_concurrency=2)
    async def mail(ctx: Context, user: int, text: str = "") -> int:
        return user

    return mail


def test_what_is_included_belongs_to_the_app(app: XQueue, tasks: Tasks) -> None:
    mail = library(tasks)
    app.include(tasks)
    spec = app.handlers["mail"]
    assert (spec.lane, spec.options.max_retry, spec.takes_context) == ("mail", 7, True)
    task = mail.options(delay=5).call(3, "hi").task
    assert (task.type, task.lane, task.key, task.delay) == ("mail", "mail", "user_3", 5.0)
    assert mail.sync.call(3).task.type == "mail"
    assert repr(mail) == "<Handler 'mail' in lane 'mail'>"


def test_a_prefix_stands_before_all_names(app: XQueue, tasks: Tasks) -> None:
    mail = library(tasks)

    @tasks.every(60)
    @tasks.cron("0 9 * * *", name="daily")
    @tasks.task(lane="slow")
    def sweep() -> None: ...

    app.include(tasks, prefix="lib.")
    assert sorted(app.handlers) == ["lib.mail", "lib.sweep"]
    assert (mail.name, sweep.name) == ("lib.mail", "lib.sweep")
    # Its own lane is named like the type; one that it names may be shared.
    assert (app.handlers["lib.mail"].lane, app.handlers["lib.sweep"].lane) == ("lib.mail", "slow")
    assert sorted(app.schedules) == ["lib.daily", "lib.sweep every 60s"]
    assert all(one.spec is app.handlers["lib.sweep"] for one in app.schedules.values())
    assert app.schedules["lib.daily"].task(0.0, 1, lambda: "0").id.startswith("lib.sweep:k")
    call = mail.call(1)
    assert (call.id.partition(":")[0], call.task.lane) == ("lib.mail", "lib.mail")
    with pytest.raises(InvalidTask, match=r"do not fit 'lib\.mail'"):
        mail.call("x")
    # What the library has declared is untouched.
    assert sorted(tasks.handlers) == ["mail", "sweep"]
    assert mail.declared.name == "mail"


def test_a_lane_takes_all_of_them(app: XQueue, tasks: Tasks) -> None:
    mail = library(tasks)
    tasks.task(name="other", lane="slow")(lambda: None)
    app.include(tasks, lane="library")
    assert {spec.lane for spec in app.handlers.values()} == {"library"}
    assert mail.call(1).task.lane == "library"


def test_before_an_include_a_submit_says_what_to_do(app: XQueue, tasks: Tasks) -> None:
    mail = library(tasks)
    match = (
        r"library.<locals>.mail \(.*test_tasks.py:\d+\) is declared on Tasks\(\) that no app "
        r"includes yet: call `app.include\(tasks\)`"
    )
    for submit in (mail.call, mail.options(delay=1).call, mail.sync.submit, mail.sync.call):
        with pytest.raises(ConfigError, match=match):
            submit(1)
    assert (mail.name, mail.spec.name) == ("mail", "mail")
    app.include(tasks)
    assert mail.call(1).task.type == "mail"


@pytest.mark.anyio
async def test_before_an_include_an_awaited_submit_says_so_too(tasks: Tasks) -> None:
    with pytest.raises(ConfigError, match="no app includes yet"):
        await library(tasks).submit(1)


def test_of_two_apps_the_one_that_is_meant_must_be_said(tasks: Tasks) -> None:
    mail = library(tasks)
    first, second = XQueue("memory://"), XQueue("memory://")
    first.include(tasks)
    second.include(tasks, prefix="x.")
    match = (
        r"included more than once, by `first` \(.*test_tasks.py:\d+\) and `second` \(.*:\d+\): "
        r"say which is meant, by `app.submit\('mail', ...\)` or `app.submit\('x.mail', ...\)`"
    )
    for submit in (mail.call, mail.sync.submit):
        with pytest.raises(ConfigError, match=match):
            submit(1)
    assert (sorted(first.handlers), sorted(second.handlers)) == (["mail"], ["x.mail"])


def test_a_name_that_is_taken_names_both_places(app: XQueue, tasks: Tasks) -> None:
    @app.task
    def mail() -> None: ...

    @tasks.every(60)
    def early() -> None: ...

    library(tasks)
    match = (
        r"type 'mail' is declared twice: by .*names_both_places.<locals>.mail \(.*:\d+\) and "
        r".*library.<locals>.mail \(.*:\d+\); .*, or include\(tasks, prefix=\.\.\.\)"
    )
    with pytest.raises(ConfigError, match=match):
        app.include(tasks)
    assert (list(app.handlers), list(app.schedules)) == (["mail"], []), "nothing was included"
    with pytest.raises(ConfigError, match="no app includes yet"):
        early.call()
    app.include(tasks, "lib.")
    assert sorted(app.handlers) == ["lib.early", "lib.mail", "mail"]


def test_a_schedule_that_is_taken_names_both_handlers(app: XQueue, tasks: Tasks) -> None:
    @app.every(60, name="same")
    def one() -> None: ...

    @tasks.every(60, name="same")
    def two() -> None: ...

    match = r"'same' is declared twice, for .*one \(.*:\d+\) and for .*two \(.*:\d+\)"
    with pytest.raises(ConfigError, match=match):
        app.include(tasks)
    assert list(app.handlers) == ["one"]


def test_what_is_declared_later_is_included_too(app: XQueue, tasks: Tasks) -> None:
    app.include(tasks, prefix="lib.")
    mail = library(tasks)
    assert mail.call(1).task.type == "lib.mail"

    @tasks.every(60)
    def tick() -> None: ...

    assert list(app.schedules) == ["lib.tick every 60s"]
    app.task(name="lib.taken")(lambda: None)
    with pytest.raises(ConfigError, match=r"'lib\.taken' is declared twice"):
        tasks.task(name="taken")(lambda: None)
    app.every(60, name="lib.tock")(lambda_named("tock"))
    with pytest.raises(ConfigError, match=r"'lib\.tock' is declared twice"):
        tasks.every(60, name="tock")(tick)
    assert (sorted(tasks.handlers), list(tasks.schedules)) == (
        ["mail", "tick"],
        ["tick every 60s"],
    )


def lambda_named(name: str) -> Any:
    def function() -> None: ...

    function.__name__ = name
    return function


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ((XQueue("memory://"),), r"include takes what a library has declared its tasks on"),
        (("tasks",), r"`tasks = Tasks\(\)`, not 'tasks'"),
        ((Tasks(), "a b"), None),
        ((Tasks(), None), r"prefix is a text, such as 'images\.', not None"),
        ((Tasks(), "", "a b"), "1 to 64 of A-Z.*not 'a b'"),
    ],
)
def test_a_wrong_include_is_refused(app: XQueue, given: Any, words: str | None) -> None:
    if words is None:  # nothing has that prefix yet; what comes will be refused
        app.include(*given)
        with pytest.raises(ConfigError, match=r"1 to 64 of A-Z.*not 'a bmail'"):
            library(given[0])
        return
    with pytest.raises(ConfigError, match=words):
        app.include(*given)


def test_an_include_is_not_repeated(app: XQueue, tasks: Tasks) -> None:
    library(tasks)
    app.include(tasks)
    with pytest.raises(ConfigError, match=r"included already, by `app` \(.*test_tasks.py:\d+\)"):
        app.include(tasks)
    app.include(tasks, prefix="more.")
    assert sorted(app.handlers) == ["mail", "more.mail"]


def test_a_lane_agrees_on_its_limit(app: XQueue, tasks: Tasks) -> None:
    tasks.task(name="one", max_concurrency=2)(lambda: None)
    tasks.task(name="two")(lambda: None)
    with pytest.raises(ConfigError, match="share the lane 'slow'"):
        app.include(tasks, lane="slow")
    assert not app.handlers


def test_a_schedule_of_the_apps_own_for_an_included_handler(app: XQueue, tasks: Tasks) -> None:
    mail = library(tasks)
    with pytest.raises(ConfigError, match="'mail' is declared by another app"):
        app.every(60, args=(1,))(mail)
    app.include(tasks, "lib.")
    app.every(60, args=(1,))(mail)
    tasks.every(30, args=(2,))(mail)
    assert sorted(app.schedules) == ["lib.mail every 30s", "lib.mail every 60s"]
