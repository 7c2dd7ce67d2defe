"""``@app.task(isolation="process")``: what a declaration keeps, and which ones are refused."""

from __future__ import annotations

from typing import Any

import pytest

from xqueue_core import XQueue
from xqueue_core.errors import ConfigError
from xqueue_core.handlers import Kind
from xqueue_core.settings import Settings
from xqueue_core.worker.options import WorkerOptions


def test_where_a_handler_runs() -> None:
    app = XQueue("memory://")

    @app.task(isolation="process", max_memory=256)
    def isolated() -> None: ...

    @app.task(isolation="process")
    async def isolated_coroutine() -> None: ...

    @app.task
    def plain() -> None: ...

    @app.task
    async def coroutine() -> None: ...

    assert {name: spec.kind for name, spec in app.handlers.items()} == {
        "isolated": Kind.PROCESS,
        "isolated_coroutine": Kind.PROCESS,
        "plain": Kind.THREAD,
        "coroutine": Kind.COROUTINE,
    }
    assert app.handlers["isolated"].max_memory == 256


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"isolation": "thread"}, "isolation is 'process', or None .*; not 'thread'"),
        ({"isolation": True}, "isolation is 'process', or None"),
        ({"max_memory": 256}, "it needs isolation='process' beside it"),
        ({"isolation": "process", "max_memory": 0}, "max_memory"),
        ({"isolation": "process", "max_memory": 1.5}, "max_memory"),
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused(options: dict[str, Any], words: str) -> None:
    app = XQueue("memory://")
    with pytest.raises(ConfigError, match=words):

        @app.task(**options)
        def isolated() -> None: ...


def test_as_many_children_as_cpus_unless_set() -> None:
    assert WorkerOptions.of(Settings()).children >= 1
    options = WorkerOptions.of(Settings(children=3, tasks_per_child=7))
    assert (options.children, options.tasks_per_child) == (3, 7)
