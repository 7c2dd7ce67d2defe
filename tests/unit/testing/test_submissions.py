"""What was submitted, as a test compares it and as pytest shows it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from support.rehearsed import an_app
from xqueue_core import XQueue
from xqueue_core.task import Task
from xqueue_core.testing import Submission, Submissions, call


def declared() -> tuple[XQueue, Any, Any]:
    app = an_app()

    @app.task(process_timeout=30)
    async def thumbnail(path: str, width: int = 320) -> None: ...

    @app.task
    async def book(day: date, /, **more: int) -> None: ...

    return app, thumbnail, book


def submitted(*calls: Any, app: XQueue) -> Submissions:
    """What there is to see after these calls were submitted."""

    async def main() -> Submissions:
        async with app.testing() as t:
            await app.submit_many(calls)
            return t.submitted()

    return asyncio.run(main())


def test_they_are_compared_with_calls_whatever_their_options() -> None:
    app, thumbnail, _ = declared()
    seen = submitted(
        thumbnail.call("a.png"),
        thumbnail.options(delay=60).call("b.png", width=640),
        app=app,
    )
    assert seen == [call("a.png"), call(path="b.png", width=640)]
    assert seen == [call("a.png", 320), call("b.png", 640)]  # a default counts as given
    assert [call("a.png"), call("b.png", 640)] == seen
    assert seen != [call("a.png"), call("b.png")]
    assert seen != [call("a.png")]
    assert seen[0] != call()  # no such call can be submitted
    assert seen[0] != call("a.png", height=1)
    assert seen[0] != "a.png"


def test_they_are_compared_with_a_handler_s_calls_options_and_all() -> None:
    app, thumbnail, _ = declared()
    seen = submitted(
        thumbnail.options(delay=60, priority=3).call("a.png"),
        thumbnail.options(unique_key="k").call("b.png"),
        thumbnail.options(id="mine").call("c.png"),
        app=app,
    )
    assert seen == [
        thumbnail.options(delay=60, priority=3).call("a.png", width=320),
        thumbnail.options(unique_key="k").call("b.png"),
        thumbnail.options(id="mine").call("c.png"),
    ]
    assert seen[0] != thumbnail.call("a.png")
    assert seen[0] != thumbnail.options(delay=60, priority=3).call("b.png")
    assert seen[0] != thumbnail.options(delay=60, priority=4).call("a.png")
    assert seen[1] != thumbnail.options(unique_key="other").call("b.png")
    assert seen[1] != thumbnail.call("b.png")
    assert seen[2] != thumbnail.options(id="yours").call("c.png")
    assert seen[2] != thumbnail.call("c.png")
    assert seen == list(seen)
    assert seen[0] != seen[1]


def test_arguments_are_as_the_handler_gets_them() -> None:
    app, thumbnail, book = declared()
    first, second = submitted(book.call(date(2030, 5, 1), a=1), thumbnail.call("a"), app=app)
    assert first.arguments == {"day": date(2030, 5, 1), "a": 1}
    assert first == call(date(2030, 5, 1), a=1)
    assert first != call(date(2030, 5, 2), a=1)
    assert second.arguments == {"path": "a"}
    assert second.options["process_timeout"] == 30
    assert (second.type, second.delay, second.duplicate) == ("thumbnail", 0.0, False)
    assert second.id.startswith("thumbnail:")


def test_they_are_shown_as_they_were_made() -> None:
    app, thumbnail, book = declared()
    seen = submitted(
        thumbnail.call("a.png", width=1),
        thumbnail.options(delay=60, id="x").call("a.png"),
        thumbnail.options(process_timeout=5).call("a.png"),
        book.call(date(2030, 5, 1)),
        app=app,
    )
    assert [*map(repr, seen)] == [
        "thumbnail.call(path='a.png', width=1)",
        "thumbnail.options(delay=60.0, id='x').call(path='a.png')",
        "thumbnail.options(process_timeout=5.0).call(path='a.png')",
        "book.call(day=datetime.date(2030, 5, 1))",
    ]
    assert repr(call("a", b=2)) == "call('a', b=2)"
    assert repr(thumbnail.options(priority=2).call("a.png", 1)) == (
        "thumbnail.options(priority=2).call(path='a.png', width=1)"
    )


def test_checks_answer_what_they_found_and_say_what_there_was_instead() -> None:
    app, thumbnail, _ = declared()
    one = submitted(thumbnail.call("a.png"), app=app)
    two = submitted(thumbnail.call("a.png"), thumbnail.call("b.png"), app=app)
    none = submitted(app=app)
    assert one.once() is one.once(path="a.png") is one.any("a.png") is one[0]
    assert two.any(path="b.png") is two[1]
    none.never()
    one.never(path="b.png")
    for check, text in (
        (lambda: one.once(path="b.png"), r"expected once call\(path='b.png'\), and submitted was:"),
        (lambda: one.once("b.png"), r"\n  thumbnail.call\(path='a.png'\)$"),
        (lambda: two.once("a.png"), r"a.png.*\n.*b.png"),
        (lambda: two.once(), "expected once, and submitted was:"),
        (lambda: none.once(), "submitted was: nothing$"),
        (lambda: two.any(path="c.png"), "expected at least once"),
        (lambda: two.never(path="a.png"), "expected never"),
        (lambda: one.never(), "expected never, and"),
    ):
        with pytest.raises(AssertionError, match=text):
            check()


def test_of_a_type_that_nobody_here_declares() -> None:
    task = Task(id="far:1", lane="far", payload=b'{"n": 1}', remember=False)
    one = Submission("far:1", {"n": 1}, task)
    assert one == call(n=1)
    assert one != call(n=2)
    assert one != call(1)
    assert repr(one) == "far.call(n=1)"
    assert one == Submission("far:1", {"n": 1}, task)


FAILS = """
import asyncio
from xqueue_core import XQueue
from xqueue_core.testing import call

app = XQueue()

@app.task
async def thumbnail(path: str) -> None: ...

def test_it():
    with app.testing() as t:
        asyncio.run(submit())
        assert t.submitted(thumbnail) == [call(path="b.png")]

async def submit():
    await thumbnail.submit("a.png")
"""


@pytest.mark.timeout(180)
def test_pytest_shows_where_they_differ(tmp_path: Path) -> None:
    test = tmp_path / "test_it.py"
    test.write_text(FAILS, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", test.name],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )
    assert done.returncode == 1, done.stdout
    assert "At index 0 diff: thumbnail.call(path='a.png') != call(path='b.png')" in done.stdout
