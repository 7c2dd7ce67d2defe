"""Hooks that put into a run, or into headers, what cannot travel: no task takes harm."""

from __future__ import annotations

from typing import Any

import pytest

from support import spoiled_app
from support.hosts import hosted
from support.processes import URL
from support.spoiled_app import SPOILING, Safe
from xqueue_core.hooks import Place
from xqueue_core.plugged import plugged

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("how", SPOILING)
@pytest.mark.parametrize("kind", ["coroutine", "thread", "process"])
async def test_whatever_a_hook_does_to_a_run_the_task_runs(
    how: str, kind: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path / 'tasks.db'}"
    spoil, failures = SPOILING[how]
    monkeypatch.setenv(URL, url)
    app = spoiled_app.make(url, spoil)
    monkeypatch.setattr(spoiled_app, "app", app, raising=False)
    async with app, hosted(app, "asyncio"):
        handle = await app.submit(kind)
        assert await handle.result(30) == "7"
        info = await handle.info()
    assert info.attempt == 1
    assert app._plugins.failures() == failures


async def test_what_a_child_is_told_is_made_of_plain_texts() -> None:
    app = spoiled_app.make("memory://", lambda run: None)
    found = plugged(app, Place.WORKER)
    assert found is not None
    fit = found.fit({Safe("a"): Safe("b")})
    assert fit == {"a": "b"}
    assert {type(text) for pair in fit.items() for text in pair} == {str}
    given = {"a": "b"}
    assert found.fit(given) is not given  # what the hook does to it later is its own affair
    await app.aclose()
