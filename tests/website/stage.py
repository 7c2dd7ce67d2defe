"""Lays out what the site is made of: the pages of ``docs``, and whatever they link to."""

from __future__ import annotations

import shutil
from pathlib import Path

from website.links import links
from website.places import DOCS, ROOT, STAGE


def wanted(root: Path = ROOT) -> list[Path]:
    """README, every page of ``docs``, and every file that one of these links to."""
    todo = [root / "README.md", *sorted((root / DOCS.name).rglob("*.md"))]
    seen = dict.fromkeys(todo)
    while todo:
        page = todo.pop()
        for link in links(page.read_text(encoding="utf-8")):
            target = (page.parent / link.path).resolve()
            if link.path and target.is_file() and target not in seen:
                seen[target] = None
                if target.suffix == ".md":
                    todo.append(target)
    return list(seen)


def stage(root: Path = ROOT, folder: Path = STAGE) -> int:
    """Copy them to an empty folder, each to its place; how many there are."""
    shutil.rmtree(folder, ignore_errors=True)
    files = wanted(root)
    for path in files:
        copy = folder / path.relative_to(root)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    return len(files)
