"""Checks a built site: every link within it, every anchor, and that it needs no other host.

Zensical checks the links of Markdown pages. This looks at what came out: the navigation too, and
what the theme adds.
"""

from __future__ import annotations

from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

#: What a browser loads by itself, by tag and attribute.
LOADED = {("script", "src"), ("img", "src"), ("link", "href"), ("iframe", "src"), ("source", "src")}


class Page(HTMLParser):
    """The links of a page, what it loads, and the anchors in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.loaded: set[str] = set()
        self.anchors: set[str] = set()
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect what one tag refers to, and its id."""
        for name, value in attrs:
            if value is None:
                continue
            if name == "id" or (tag == "a" and name == "name"):
                self.anchors.add(value)
            elif (tag, name) in LOADED:
                self.loaded.add(value)
            elif (tag, name) == ("a", "href"):
                self.links.add(value)


def problems(site: Path) -> list[str]:
    """What is wrong with a site, one text each, with the page that it is wrong in."""
    pages = {path: Page(path.read_text("utf-8")) for path in sorted(site.rglob("*.html"))}
    if not pages:
        return [f"{site} has no page"]
    return [
        f"{path.relative_to(site)}: {problem}"
        for path, page in pages.items()
        for problem in _of(path, page, pages, site)
    ]


def _of(path: Path, page: Page, pages: dict[Path, Page], site: Path) -> Iterator[str]:
    for url in sorted(page.loaded):
        if urlsplit(url).netloc:
            yield f"loads {url}: nothing is to be loaded from elsewhere"
    if path.name == "404.html":  # it is served at any depth, so its links are absolute
        return
    for url in sorted(page.links | page.loaded):
        parts = urlsplit(url)
        if parts.scheme or parts.netloc:
            continue
        target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
        if target.is_dir():
            target /= "index.html"
        if not target.is_relative_to(site.resolve()) or not target.is_file():
            yield f"{url} leads nowhere"
            continue
        known = pages[target].anchors if target in pages else {unquote(parts.fragment)}
        if parts.fragment and unquote(parts.fragment) not in known:
            yield f"{url} names no anchor of that page"
