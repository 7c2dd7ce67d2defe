"""Puts an app on its test's broker, and back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from xqueue_core.errors import ConfigError

if TYPE_CHECKING:
    from xqueue_core.app import XQueue
    from xqueue_core.testing.rehearsal import Testing


@contextmanager
def swapped(app: XQueue, testing: Testing) -> Iterator[None]:
    """Within, this is what the app connects to. Raises ConfigError if there is such a one."""
    if app._testing is not None:
        raise ConfigError(
            "app.testing() is active for this app already: one at a time, so leave the outer one "
            "first, or share it"
        )
    lanes, app._lanes = app._lanes, {}
    app._testing = testing
    try:
        with app._client.set_aside():
            yield
    finally:
        app._testing, app._lanes = None, lanes
