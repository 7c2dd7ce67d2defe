"""``app.testing()`` and ``inline://`` with plain code, which submits by ``app.sync``."""

from __future__ import annotations

import threading
import warnings
from datetime import timedelta

import pytest

from support.apps import make_app
from support.rehearsed import an_app, hows
from xqueue_core import Context, TaskFailed, Tasks
from xqueue_core.testing import call


def test_plain_code_is_tested_in_plain_tests() -> None:
    app = an_app()

    @app.task
    def double(n: int) -> int:
        if n > 2:
            double.sync.options(delay=60).submit(1)
        return 2 * n

    before = set(threading.enumerate())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with app.testing() as t:
            begin = t.now
            first = double.sync.submit(3)
            second = app.sync.submit("double", n=2)
            assert t.submitted(double) == [call(3), call(2)]
            assert hows(t.run_all()) == ["success"] * 3
            assert (first.result(), second.result()) == (6, 4)
            assert t.now == begin + timedelta(seconds=60)
            assert [one.delay for one in t.submitted(double)] == [0, 0, 60]
    assert set(threading.enumerate()) == before


def test_what_plain_code_had_open_is_untouched() -> None:
    app = make_app()

    @app.task
    def job() -> int:
        return 1

    real = job.sync.submit()
    try:
        with app.testing() as t:
            assert t.info(real.id) is None
            rehearsed = job.sync.submit()
            t.run_all()
            assert rehearsed.result() == 1
        assert real.state() == "pending"
    finally:
        app.sync.close()


def test_handlers_of_a_library_are_those_of_the_app_that_includes_it() -> None:
    app, library = an_app(), Tasks()

    @library.task
    async def resize(ctx: Context, path: str) -> str:
        return ctx.type

    app.include(library, prefix="images.")
    with app.testing() as t:
        handle = resize.sync.submit("a.png")
        t.submitted(resize).once("a.png")
        t.submitted("images.resize").once(path="a.png")
        t.run_all()
        assert handle.result() == "images.resize"


def test_inline_runs_plain_code_s_tasks_within_its_submit() -> None:
    app = make_app("inline://")
    seen: list[int] = []

    @app.task
    def down(n: int) -> int:
        seen.append(n)
        return 1 + down.sync.submit(n - 1).result() if n else 0

    @app.task(max_retry=0)
    async def broken() -> None:
        raise KeyError("k")

    with app.sync:
        handle = down.sync.submit(5)
        assert seen == [5, 4, 3, 2, 1, 0]
        assert handle.result() == 5
        with pytest.raises(TaskFailed, match="KeyError"):
            broken.sync.submit().result()
