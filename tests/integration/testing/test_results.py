"""A result that the handler's return annotation refuses: no success for whoever asks for it."""

from __future__ import annotations

import pytest

from support.rehearsed import an_app
from xqueue_core import InvalidResult, InvalidTask, TaskError, XQueue
from xqueue_core.client.handler import Handler


def _an_app() -> tuple[XQueue, Handler[[int], int]]:
    app = an_app()

    @app.task
    def number(n: int) -> int:
        return "text" if n else 0  # type: ignore[return-value]

    return app, number


def test_it_is_raised_by_the_run_and_by_the_handle() -> None:
    app, number = _an_app()
    with app.testing() as t:
        handle = number.sync.submit(1)
        with pytest.raises(InvalidResult, match="Expected `int`, got `str`") as caught:
            t.run_all()
        assert caught.value.task_id == handle.id
        assert any(handle.id in note for note in caught.value.__notes__)
        with pytest.raises(TaskError, match=f"task {handle.id} succeeded, but the result does not"):
            handle.result()
        with pytest.raises(InvalidTask):  # what it was before it had a name of its own
            handle.result()


def test_it_is_shown_where_errors_are_not_raised() -> None:
    app, number = _an_app()
    with app.testing(raise_errors=False) as t:
        number.sync.submit(0)
        number.sync.submit(1)
        ran = t.run_all()
        assert [run.how for run in ran] == ["success", "success"]
        assert sorted(type(run.error).__name__ for run in ran) == ["InvalidResult", "NoneType"]


@pytest.mark.anyio
async def test_in_coroutines_too() -> None:
    app, number = _an_app()
    async with app.testing() as t:
        handle = await number.submit(1)
        with pytest.raises(InvalidResult):
            await t.run_all()
        with pytest.raises(InvalidResult) as caught:
            await handle.result()
        assert caught.value.task_id == handle.id
