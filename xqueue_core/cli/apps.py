"""Puts a command's flags above its app's settings, and looks whether its broker fits."""

from __future__ import annotations

from collections.abc import Mapping

from xqueue_core.app import XQueue
from xqueue_core.errors import ConfigError
from xqueue_core.places import find_app

__all__ = ["check_shared", "configure", "find_app"]


def configure(app: XQueue, flags: Mapping[str, object]) -> None:
    """Let the command line's flags stand above everything else said about the app."""
    from xqueue_core.settings import load_settings

    given = {name: value for name, value in flags.items() if value is not None}
    app._settings = load_settings(app._overrides, cli_overrides=given)


def check_shared(app: XQueue, why: str, instead: str = "") -> None:
    """Raise ConfigError if a broker of the app's lives in one process alone."""
    from xqueue_core.connect import INLINE, NO_BROKER, broker_urls
    from xqueue_core.settings import backend_name, backend_settings, masked

    settings = app.settings()
    for name, url in broker_urls(settings).items():
        if url.startswith(INLINE):  # no plugin has this name
            raise ConfigError(NO_BROKER)
        backend = app._backends.get(backend_name(url))
        own = backend_settings(settings, url, backend.Settings)
        if not backend.capabilities(own).shared:
            flag = "for example --url sqlite:///xqueue.db" if name == "url" else f"as {name}"
            raise ConfigError(
                f"{masked(url)} lives in one process alone: {why}. Use a broker that processes "
                f"share, {flag}{instead}"
            )
