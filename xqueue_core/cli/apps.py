"""Finds the app that a command is about, and puts the command's flags above its settings."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
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


def check_shared(app: XQueue, why: str, instead: str = "") -> None:
    """Raise ConfigError if a broker of the app's lives in one process alone."""
    from xqueue_core.settings import backend_name, backend_settings, masked

    settings = app.settings()
    for name in ("url", "view_url", "semaphore_url", "notifier_url"):
        url = getattr(settings, name)
        if url is None:
            continue
        backend = app._backends.get(backend_name(url))
        own = backend_settings(settings, url, backend.Settings)
        if not backend.capabilities(own).shared:
            flag = "for example --url sqlite:///xqueue.db" if name == "url" else f"as {name}"
            raise ConfigError(
                f"{masked(url)} lives in one process alone: {why}. Use a broker that processes "
                f"share, {flag}{instead}"
            )


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
            raise _broken(where, error) from error
        raise ConfigError(f"there is no module {where!r} (working folder: {folder})") from error
    except (Exception, SystemExit) as error:
        raise _broken(where, error) from error


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
    try:
        found.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise _broken(str(path), error) from error
    return module


def _broken(where: str, error: BaseException) -> ConfigError:
    """The app's own code is broken: tell how, and which of its lines led there."""
    ours = (__file__, importlib.__file__)
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename not in ours and not frame.filename.startswith("<frozen importlib")
    ]
    lines = "".join(traceback.format_list(frames)).rstrip()
    text = f"cannot load {where}: {type(error).__name__}: {error}"
    return ConfigError(f"{text}\n{lines}" if lines else text)


def _app_in(module: ModuleType, attr: str, spec: str) -> XQueue:
    apps = {name: one for name, one in vars(module).items() if isinstance(one, XQueue)}
    if attr in apps:
        return apps[attr]
    if attr:
        where = spec.removesuffix(f":{attr}")
        has = f"has: {', '.join(apps)}"
        if not hasattr(module, attr):
            there = f"; it {has}" if apps else ", and no XQueue at all"
            raise ConfigError(f"{where} has no `{attr}`{there}")
        kind = type(getattr(module, attr)).__name__
        there = f"; {where} {has}" if apps else ""
        raise ConfigError(f"{spec} is not an XQueue, but {kind}{there}")
    if "app" in apps:
        return apps["app"]
    if len(apps) == 1:
        return next(iter(apps.values()))
    raise ConfigError(
        f"{spec!r} has {len(apps)} apps ({', '.join(apps) or 'none'}): say which, as in "
        f"`{spec}:{next(iter(apps), 'app')}`"
    )
