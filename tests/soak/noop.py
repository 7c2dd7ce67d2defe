"""An app whose one handler does nothing."""

from __future__ import annotations

import os
from typing import Any

from support.apps import make_app
from support.processes import URL
from xqueue_core import XQueue


def make(url: str) -> tuple[XQueue, Any]:
    """The app, over this broker, and its handler."""
    app = make_app(url)

    @app.task
    async def noop() -> None:
        pass

    return app, noop


if URL in os.environ:
    app, _ = make(os.environ[URL])
