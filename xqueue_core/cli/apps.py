"""Finds the app that a command is about, and puts the command's flags above its settings."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

from xqueue_core.app import XQueue
from xqueue_core.errors import ConfigError


def find_app(spec: str | None) -> XQueue:
    """The app named ``module:attr`` or ``file.py[:attr]``; None looks in the settings.

    Without ``attr`` it is the module's ``app``, or the only XQueue in it.
    Raises ConfigError if there is none, or importing it fails.
    """
    if spec is None:
        from xqueue_core.settings import load_settings

        spec = load_settings().app
    if spec is None:
        raise ConfigError(
            "which app? Give `module:attr` or `file.py[:attr]`, or set XQUEUE_APP, "
            "or `app` in xqueue.toml"
        )
    # A drive letter's colon is not ours.
    where, colon, attr = spec.rpartition(":")
    if not colon or attr.startswith(("\\", "/")) or attr.endswith(".py"):
        where, attr = spec, ""
    return _app_in(_imported(where), attr, spec)


def configure(app: XQueue, flags: Mapping[str, object]) -> None:
    """Let the command line's flags stand above everything else said about the app."""
    from xqueue_core.settings import load_settings

    given = {name: value for name, value in flags.items() if value is not None}
    app._settings = load_settings(app._overrides, cli_overrides=given)


def _imported(where: str) -> ModuleType:
    if where.endswith(".py"):
        return _from_file(Path(where))
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        return importlib.import_module(where)
    except ModuleNotFoundError as error:
        if error.name is None or not (where == error.name or where.startswith(f"{error.name}.")):
            raise  # the app's own import is broken: its traceback tells more
        raise ConfigError(f"there is no module {where!r} (working folder: {folder})") from error


def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise ConfigError(f"there is no file {path.absolute()}")
    folder = str(path.absolute().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    found = importlib.util.spec_from_file_location(path.stem, path)
    if found is None or found.loader is None:
        raise ConfigError(f"{path} cannot be imported")
    module = importlib.util.module_from_spec(found)
    sys.modules[path.stem] = module
    found.loader.exec_module(module)
    return module


def _app_in(module: ModuleType, attr: str, spec: str) -> XQueue:
    if attr:
        app = getattr(module, attr, None)
        if not isinstance(app, XQueue):
            raise ConfigError(f"{spec!r} is not an XQueue, but {type(app).__name__}")
        return app
    apps = {name: one for name, one in vars(module).items() if isinstance(one, XQueue)}
    if isinstance(apps.get("app"), XQueue):
        return apps["app"]
    if len(apps) == 1:
        return next(iter(apps.values()))
    raise ConfigError(
        f"{spec!r} has {len(apps)} apps ({', '.join(apps) or 'none'}): say which, as in "
        f"`{spec}:{next(iter(apps), 'app')}`"
    )
