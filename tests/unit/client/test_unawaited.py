"""A submit that nobody awaits: what Python says, which is all there is."""

from __future__ import annotations

import pytest

from support.apps import make_app


def test_a_submit_that_nobody_awaits_is_warned_of_by_its_name() -> None:
    @make_app().task
    def thumbnail(path: str) -> None: ...

    # docs/coming-from/celery.md has this text.
    with pytest.warns(RuntimeWarning, match=r"^coroutine 'Submitter\.submit' was never awaited$"):
        thumbnail.submit("a.png")  # type: ignore[unused-coroutine]
