"""The links of Markdown pages, and the anchors that they may name.

Anchors are those of the heading's text by GitHub's rules; ``zensical.toml`` sets the same.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

_FENCE = re.compile(r"^ *(`{3,})")
_CODE = re.compile(r"(`+).*?\1")
_LINK = re.compile(r"!?\[(?:[^\[\]]|\[[^\]]*\])*\]\(\s*<?([^)\s>]+)>?[^)]*\)")
_HEADING = re.compile(r"^#{1,6} +(.*?)(?: +#+)?$")
_TARGET = re.compile(r"<a (?:id|name)=\"([^\"]+)\"")
_ELSEWHERE = re.compile(r"^[a-z][a-z0-9+.-]*:|^//")


class Link(NamedTuple):
    """A relative link of a page."""

    line: int
    path: str  #: as it stands there; "" for the page itself
    anchor: str


def prose(text: str) -> Iterator[tuple[int, str]]:
    """The lines outside fenced blocks, with their numbers."""
    ticks = ""
    for number, line in enumerate(text.splitlines(), 1):
        fence = _FENCE.match(line)
        if fence and not ticks:
            ticks = fence[1]
        elif fence and line.strip() == ticks:
            ticks = ""
        elif not ticks:
            yield number, line


def links(text: str) -> Iterator[Link]:
    """The links of a page that lead into the repository. A link stands in one line or two."""
    lines = list(prose(text))
    for at, (number, line) in enumerate(lines):
        behind = f" {lines[at + 1][1]}" if at + 1 < len(lines) else ""
        # Code may stand within a link's text, and must not be taken for a link itself.
        both = _CODE.sub(lambda code: "`" * len(code[0]), line + behind)
        for found in _LINK.finditer(both):
            if found.start() < len(line) and not _ELSEWHERE.match(found[1]):
                path, _, anchor = found[1].partition("#")
                yield Link(number, unquote(path), unquote(anchor))


def anchors(text: str) -> set[str]:
    """What may stand behind the # of a link to this page."""
    seen: Counter[str] = Counter()
    known = set()
    for _, line in prose(text):
        known.update(_TARGET.findall(line))
        if heading := _HEADING.match(line):
            slug = slugged(heading[1])
            known.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
            seen[slug] += 1
    return known


def slugged(heading: str) -> str:
    """The anchor of a heading: lower case, without punctuation, a hyphen for each space."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
    return re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")


def broken(page: Path, root: Path) -> list[str]:
    """What is wrong with the links of a page, one text each."""
    text = page.read_text(encoding="utf-8")
    return [
        f"{page.relative_to(root)}:{link.line}: {problem}"
        for link in links(text)
        if (problem := _problem(page, link, root))
    ]


def _problem(page: Path, link: Link, root: Path) -> str:
    target = (page.parent / link.path).resolve() if link.path else page
    if not target.is_relative_to(root):
        return f"{link.path} leads out of the repository"
    if not target.is_file():
        return f"{link.path} is no file" + (
            "; name a file in it, for the site has no lists of folders" if target.is_dir() else ""
        )
    if not link.anchor or target.suffix != ".md":
        return ""
    known = anchors(target.read_text(encoding="utf-8"))
    return "" if link.anchor in known else f"{link.path or page.name} has no #{link.anchor}"
