"""Follows the author's guide to the letter: ``python tests/third_party/guide.py``.

An empty folder, a new environment with the wheel in it; then the page's files are written and its
commands run, in the order of the page. Exit code 0 only if each did what the page says, and the
conformance kit passed as a whole. Reports of the kit go to the folder named by
``CONFORMANCE_DIR``, by default to a temporary one.

Commands are the consoles of the page, and its ``text`` snippets that begin with ``$``: those need
the package installed, so the tests of the documentation leave them out.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from support.docs_page import Snippet, commands, printed, snippets  # noqa: E402 - found first
from support.trial import ROOT, Failed, Trial  # noqa: E402

PAGE = ROOT / "docs" / "writing-a-backend.md"
#: Seconds for one command: the whole kit takes the longest.
LONGEST = 500.0
#: What the page must have the reader run, whatever else; else this script proves little.
NEEDED = ("pip install", "xqueue plugins", "xqueue conformance sql", "pytest", "xqueue worker")


def files(page: str) -> Iterator[Snippet]:
    """The files that the page has the reader write."""
    return (one for one in snippets(page) if one.file)


def shown(page: str) -> Iterator[tuple[str, str]]:
    """The commands that the page has the reader run, each with what it prints."""
    for one in snippets(page):
        if one.language == "console" or (one.language == "text" and one.text.startswith("$ ")):
            yield from commands(one)


def follow(trial: Trial, page: str) -> None:
    """Write the files, run the commands. Raises Failed."""
    listed = list(shown(page))
    for needed in NEEDED:
        if not any(command.startswith(needed) for command, _ in listed):
            raise Failed(f"read {PAGE.name}: no command on it begins with {needed!r}")
    for one in files(page):
        path = trial.folder / one.file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(one.text, encoding="utf-8")
    for command, expected in listed:
        output = trial.step(f"$ {command}", ["bash", "-e", "-c", command], LONGEST)
        if not printed(expected, output):
            raise Failed(f"run $ {command}\nit printed\n{output}\nand the page says\n{expected}")


def main() -> int:
    """Do it all; 1 if anything failed."""
    with tempfile.TemporaryDirectory(prefix="xqueue-guide-") as folder:
        trial = Trial("guide", Path(folder).resolve())
        try:
            trial.install(trial.wheel())
            follow(trial, PAGE.read_text(encoding="utf-8"))
        except Failed as failed:
            print(f"guide: FAILED to {failed}", file=sys.stderr)
            return 1
        finally:
            keep(trial.folder / "kit.json")
    print("guide: the page leads from an empty folder to a backend that passes the kit")
    return 0


def keep(report: Path) -> None:
    """Put the kit's report where the others are."""
    folder = os.environ.get("CONFORMANCE_DIR")
    if folder and report.exists():
        text = report.read_text(encoding="utf-8")
        (Path(folder) / "guide-asyncio.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
