"""What users are shown of an error: their own code, or a sentence."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

import xqueue_core
from support.rehearsed import an_app
from xqueue_core import Context, XQueue
from xqueue_core.around import CallNext
from xqueue_core.client.call import Call, make_task
from xqueue_core.client.options import TaskOptions
from xqueue_core.handle import any_json
from xqueue_core.ids import make_id
from xqueue_core.views import TaskInfo

INTERNAL = str(Path(xqueue_core.__file__).parent)


def _ended(app: XQueue, submit: Callable[[], Awaitable[Any]]) -> TaskInfo:
    """The record of a task that was run."""
    with app.testing(raise_errors=False) as t:
        handle = asyncio.run(_submitted(submit))
        t.run_all()
        info = t.info(handle.id)
        assert info is not None
        return info


async def _submitted(submit: Callable[[], Awaitable[Any]]) -> Any:
    return await submit()


def _logged(caplog: pytest.LogCaptureFixture) -> str:
    """The log, as it is written."""
    form = logging.Formatter()
    return "\n".join(form.format(one) for one in caplog.records if one.name == "xqueue.worker")


def _plain() -> None:
    raise ValueError("no luck")


async def _coroutine() -> None:
    raise ValueError("no luck")


async def _mw(ctx: Context, call_next: CallNext) -> Any:
    return await call_next(ctx)


@pytest.mark.parametrize("handler", [_plain, _coroutine])
def test_a_traceback_begins_with_the_users_code(
    handler: Any, caplog: pytest.LogCaptureFixture
) -> None:
    app = an_app()
    job = app.task(max_retry=0, name="job")(handler)
    info = _ended(app, job.submit)
    assert info.failure is not None
    first = info.failure.traceback.splitlines()[:2]
    assert first[0] == "Traceback (most recent call last):"
    assert first[1].strip().startswith(f'File "{__file__}"')
    assert INTERNAL not in info.failure.traceback
    assert "raise ValueError" in _logged(caplog)
    assert INTERNAL not in _logged(caplog)


def test_it_begins_with_middleware_if_there_is_some(caplog: pytest.LogCaptureFixture) -> None:
    app = an_app(middleware=[_mw])
    job = app.task(max_retry=0, name="job")(_coroutine)
    info = _ended(app, job.submit)
    assert info.failure is not None
    text = info.failure.traceback
    assert text.splitlines()[1].strip().startswith(f'File "{__file__}"')
    assert text.index("in _mw") < text.index("in _coroutine")


def test_arguments_that_do_not_fit_are_told_in_a_sentence(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = an_app()

    @app.task
    async def greet(name: str) -> None: ...

    id = make_id("greet", "bad", None, app._client.uuid)
    call = Call(make_task(id, "greet", b'{"nme":"b"}', TaskOptions()), any_json)
    info = _ended(app, lambda: app._client.submit(call))
    assert info.failure is not None
    said = "the arguments do not fit 'greet': it has no argument `nme`; did you mean `name`?"
    assert (info.failure.reason, info.failure.message) == ("payload", said)
    assert info.failure.traceback == ""
    assert said in _logged(caplog)
    assert "Traceback" not in _logged(caplog)


@pytest.mark.parametrize(
    ("value", "words"), [("x" * 600_000, "bytes"), (object(), "no JSON form")], ids=["large", "odd"]
)
def test_a_result_that_cannot_be_kept_is_told_in_a_sentence(
    value: Any, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    app = an_app()

    @app.task
    def job() -> Any:
        return value

    info = _ended(app, job.submit)
    assert info.failure is not None
    assert info.failure.reason == "result"
    assert words in info.failure.message
    assert info.failure.traceback == ""
    assert words in _logged(caplog)
    assert "Traceback" not in _logged(caplog)
