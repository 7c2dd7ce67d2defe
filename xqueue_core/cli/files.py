"""Brokers that are a file: where it lies, and whether it is there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from xqueue_core.cli.exits import NotFound

if TYPE_CHECKING:
    from xqueue_core.app import XQueue


def database(app: XQueue, url: str) -> Path | None:
    """The file that is the broker of this URL; None if it is none. Raises ConfigError.

    A broker is taken for a file if its settings have a path, and no host.
    """
    from xqueue_core.settings import backend_name, backend_settings

    backend = app._backends.get(backend_name(url))
    fields = set(backend.Settings.model_fields)
    if "path" not in fields or fields & {"host", "hosts"}:
        return None
    path = backend_settings(app.settings(), url, backend.Settings).path
    return Path(path).absolute() if path else None


def check_there(app: XQueue) -> None:
    """Raise NotFound if one of the app's brokers is a file that is not there.

    Opening it would make an empty one, in a folder where nobody looks for it.
    """
    from xqueue_core.connect import broker_urls
    from xqueue_core.settings import masked

    settings = app.settings()
    for name, url in broker_urls(settings).items():
        path = database(app, url)
        if path is None or path.exists():
            continue
        origin = settings.origin[name]
        where = "without any configuration" if origin == "default" else f"from {origin}"
        raise NotFound(
            f"there is no database {path} ({name} {masked(url)}, {where}): run this in the "
            f"workers' folder, or say where it is, for example --url sqlite:////absolute/path.db"
        )
