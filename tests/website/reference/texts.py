"""Docstrings and tables as Markdown."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator, Sequence

_ROLE = re.compile(r":(?:class|meth|func|mod|attr|data|exc):`~?!?([^`]+)`")
_SECTION = re.compile(r"^(Args|Attributes|Raises|Returns|Yields|Warns):$")
_ENTRY = re.compile(r"^(\*{0,2}[\w.*]+(?:, \*{0,2}[\w.]+)*): (.*)$")


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; a bar within a cell is written so that it does not end the cell."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join(f"| {' | '.join(_cell(cell) for cell in line)} |\n" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def inline(text: str) -> str:
    """reStructuredText's roles and literals as Markdown's code; the rest of a name is left out."""
    text = _ROLE.sub(lambda role: f"`{role[1].rpartition('.')[2]}`", text)
    return re.sub(r"``([^`]+)``", r"`\1`", text)


def docstring(thing: object) -> str:
    """A docstring of Google's form as Markdown: paragraphs, and a list for each section."""
    return "\n".join(_lines(inspect.getdoc(thing) or "")).strip()


def first(thing: object) -> str:
    """Its first paragraph, in one line."""
    return " ".join(inline(inspect.getdoc(thing) or "").partition("\n\n")[0].split())


def _lines(doc: str) -> Iterator[str]:
    section, lines = "", inline(doc).splitlines()
    for number, line in enumerate(lines):
        title = _SECTION.match(line)
        if title:
            section = title[1]
            yield f"**{section}**"
            yield ""
        elif not section or not line.startswith("    "):
            section = section if not line.strip() else ""
            yield _code(line, lines, number)
        else:
            yield _item(line[4:], section)


def _code(line: str, lines: Sequence[str], number: int) -> str:
    # A literal block's colons are one in Markdown; the block itself is indented code already.
    ends = line.endswith("::") and number + 1 < len(lines)
    return line[:-1] if ends else line


def _item(line: str, section: str) -> str:
    if line.startswith(" "):
        return f"  {line.strip()}"
    entry = _ENTRY.match(line)
    if entry and section != "Returns":
        names = ", ".join(f"`{name}`" for name in entry[1].split(", "))
        return f"- {names}: {entry[2]}"
    return line
