"""Finds an app by the name that people give it, in a module or a file."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from pathlib import Path
from types import ModuleType

from xqueue_core.app import XQueue
from xqueue_core.client.tasks import Tasks
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
    module = imported(where)
    app = _app_in(module, attr, spec)
    # For child processes, which look from another folder perhaps.
    there = str(Path(where).absolute()) if where.endswith(".py") else where
    app._place = place_of(app, there, module)
    return app


def place_of(app: XQueue, where: str, module: ModuleType) -> str | None:
    """The app as ``where:attr``, if this module has it in a variable."""
    attr = next((name for name, one in list(vars(module).items()) if one is app), None)
    return None if attr is None else f"{where}:{attr}"


def imported(where: str) -> ModuleType:
    """The module of this name, or in this ``.py`` file. Raises ConfigError if it is broken."""
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
        raise _broken(str(path), error, _as_module(path, error)) from error
    return module


def _as_module(path: Path, error: BaseException) -> str:
    """What to do about a relative import: a file by itself is in no package."""
    if not isinstance(error, ImportError) or "no known parent package" not in str(error):
        return ""
    file, here = path.resolve(), Path.cwd()
    top = file.parent
    while (top / "__init__.py").is_file():
        top = top.parent
    if top == file.parent != here:  # a package needs no such file
        top = top.parent
    if top == file.parent:
        return ""
    name = ".".join(file.relative_to(top).with_suffix("").parts)
    there = "" if top == here else f", in the folder {top}"
    return f"; name it as a module, `{name}` or `{name}:attr`{there}"


def _broken(where: str, error: BaseException, hint: str = "") -> ConfigError:
    """The app's own code is broken: tell how, what helps, and which of its lines led there."""
    ours = (__file__, importlib.__file__)
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename not in ours and not frame.filename.startswith("<frozen importlib")
    ]
    lines = "".join(traceback.format_list(frames)).rstrip()
    text = f"cannot load {where}: {type(error).__name__}: {error}{hint}"
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
        found = getattr(module, attr)
        kind = "a class" if isinstance(found, type) else type(found).__name__
        there = f"; {where} {has}" if apps else ""
        raise ConfigError(f"{spec} is not an XQueue, but {kind}{there}")
    if "app" in apps:
        return apps["app"]
    if len(apps) == 1:
        return next(iter(apps.values()))
    tasks = [name for name, one in vars(module).items() if isinstance(one, Tasks)]
    if not apps and tasks:
        raise ConfigError(
            f"{spec!r} has no XQueue, but Tasks ({', '.join(tasks)}), which an app takes in: name "
            f"the app that does so by `app.include({tasks[0]})`"
        )
    if not apps:
        raise ConfigError(f"{spec!r} has no XQueue: name where it is, as in `{spec}:app`")
    raise ConfigError(
        f"{spec!r} has {len(apps)} apps ({', '.join(apps)}): say which, as in "
        f"`{spec}:{next(iter(apps))}`"
    )
