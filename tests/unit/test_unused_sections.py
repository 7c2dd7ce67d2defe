"""Sections of plugins that are not in use are told, with the line to add."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from support.apps import make_app
from xqueue_core import XQueue
from xqueue_core.cli.worker import _tell_unused
from xqueue_core.settings import Settings, unused_sections
from xqueue_core.worker import Worker


def app_with(**settings: Any) -> XQueue:
    app = make_app(**settings)

    @app.task
    async def job() -> None: ...

    return app


def told(log: pytest.LogCaptureFixture) -> list[str]:
    return [one for one in log.messages if "does nothing" in one]


def test_only_sections_of_plugins_that_are_not_named() -> None:
    def found(**settings: Any) -> list[str]:
        return [str(one) for one in unused_sections(Settings(**settings))]

    assert found() == []
    assert found(sections={"sqlite": {"busy_timeout": 1}, "memory": {}}) == []
    sections: dict[str, dict[str, Any]] = {"prometheus": {"port": 0}, "opentelemetry": {}}
    assert found(sections=sections, plugins=("prometheus", "opentelemetry")) == []
    assert found(sections=sections, plugins=("prometheus",)) == [
        "the section [opentelemetry] (keyword argument) does nothing, for the plugin is not in "
        'use: add `plugins = ["prometheus", "opentelemetry"]` above all sections, or set '
        "XQUEUE_PLUGINS=prometheus,opentelemetry"
    ]


def test_a_worker_warns_of_them_once_in_a_process(caplog: pytest.LogCaptureFixture) -> None:
    app = app_with(prometheus={"port": 0}, memory={"client_retry": 5.0})
    with app.testing() as t:  # where no plugin is at work anyway
        app.sync.submit("job")
        t.run_all()
    assert told(caplog) == []
    for _ in range(2):
        asyncio.run(Worker(app, burst=True).run())
    [text] = told(caplog)
    assert "the section [prometheus] (keyword argument)" in text


def test_a_worker_does_not_warn_of_a_plugin_in_use(caplog: pytest.LogCaptureFixture) -> None:
    app = app_with(prometheus={"port": 0}, plugins=["prometheus"])
    asyncio.run(Worker(app, burst=True).run())
    assert told(caplog) == []


def test_a_supervised_process_leaves_it_to_its_supervisor(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = app_with(prometheus={"port": 0})
    _tell_unused(app, supervised=True)
    asyncio.run(Worker(app, burst=True).run())
    assert told(caplog) == []
