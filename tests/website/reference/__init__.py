"""Pages written from the code: ``PYTHONPATH=tests python -m website.reference`` (`make reference`).

They are kept in the repository, so that they can be read where it is browsed, and so that a change
of the interface shows as a change of its page; ``tests/docs/test_reference.py`` compares them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from website.places import DOCS
from website.reference import cases, commands, errors, interface, settings

FOLDER = DOCS / "reference"
COMMAND = "make reference"

_NOTE = f"<!-- Written from the code by `{COMMAND}`: change the code, then run it. -->\n\n"

#: The body of each page, by the name of its file.
PAGES: dict[str, Callable[[], str]] = {
    "settings.md": settings.page,
    "interface.md": interface.page,
    "errors.md": errors.page,
    "commands.md": commands.page,
    "cases.md": cases.page,
}


def written(name: str) -> str:
    """One page as it should be."""
    return f"{_NOTE}{PAGES[name]().rstrip()}\n"


def write(folder: Path = FOLDER) -> list[Path]:
    """Write all pages; those that changed."""
    folder.mkdir(parents=True, exist_ok=True)
    changed = []
    for name in PAGES:
        path, text = folder / name, written(name)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            changed.append(path)
    return changed
