"""Where a child process finds the app: worked out from what this process has loaded itself."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from xqueue_core.errors import ConfigError
from xqueue_core.places import place_of
from xqueue_core.worker.isolation.confine import check_memory_limit

if TYPE_CHECKING:
    from xqueue_core.app import XQueue
    from xqueue_core.handlers import HandlerSpec


@dataclass(slots=True, frozen=True)
class Home:
    """What a child imports: the app, as the command line would name it, then more modules."""

    app: str
    modules: list[str]


def home_of(app: XQueue, specs: Collection[HandlerSpec]) -> Home:
    """Where a child finds the app with these isolated types.

    If the command line has loaded the app, the child does what it did. Else the app is looked
    for in the modules of the handlers, then in all others.

    Raises:
        ConfigError: no module has the app in a variable of its own, or it was typed in.
    """
    names = list(dict.fromkeys(spec.function.__module__ for spec in specs))
    spec = app._place or next(_places(app, [*names, *list(sys.modules)]), None)
    if spec is None:
        where = ", ".join(names)
        raise ConfigError(
            f"isolation='process': a child process imports the app, but no module has it in a "
            f"variable of its own (looked in {where} and all others, and in the file that is "
            f"run): write `app = XQueue(...)` at the top level of a module"
        )
    modules = [_importable(name, sys.modules.get(name)) for name in names]
    return Home(spec, [where for where in modules if where is not None])


def check(app: XQueue, specs: Collection[HandlerSpec]) -> None:
    """Raise ConfigError if a child would not find the app, or cannot be given less memory here."""
    home_of(app, specs)
    if any(spec.max_memory is not None for spec in specs):
        check_memory_limit()


def _places(app: XQueue, names: Iterable[str]) -> Iterator[str]:
    for name in names:
        module = sys.modules.get(name)
        where = _importable(name, module)
        if where is not None and isinstance(module, ModuleType):
            place = place_of(app, where, module)
            if place is not None:
                yield place


def _importable(name: str, module: object) -> str | None:
    """How a child imports what is this module here; None if it cannot."""
    if name != "__main__":
        return name
    # Run by ``python -m name``, or as a file: the child imports it under its proper name, so that
    # what stands below ``if __name__ == "__main__"`` is not run.
    spec = getattr(module, "__spec__", None)
    if spec is not None and spec.name != "__main__":
        return str(spec.name)
    file = getattr(module, "__file__", None)
    return str(Path(file).absolute()) if file and str(file).endswith(".py") else None
