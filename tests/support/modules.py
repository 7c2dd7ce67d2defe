"""Modules that a test writes into its folder and has imported: forgotten when it ends."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def forgotten(folder: Path) -> Iterator[None]:
    """Within the context modules may be imported from this folder; afterwards none is known.

    ``sys.modules`` stays the same object: C code looks into the interpreter's own, so whatever it
    imports first while another one stands in its place is not found (KeyError).
    """
    path = [*sys.path]
    try:
        yield
    finally:
        sys.path[:] = path
        for name, module in [*sys.modules.items()]:
            if any(folder in Path(place).parents for place in _places(module)):
                del sys.modules[name]


def _places(module: object) -> list[str]:
    """Where a module lies: its file, and the folders of a package."""
    file = getattr(module, "__file__", None)
    return [*([file] if file else []), *getattr(module, "__path__", ())]
