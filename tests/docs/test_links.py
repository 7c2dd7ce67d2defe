"""Every link of a page leads somewhere, on the site and where the repository is browsed."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from website.links import Link, anchors, broken, links, slugged
from website.places import ROOT
from website.stage import stage, wanted

PAGES = [path for path in wanted() if path.suffix == ".md"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_of_the_page_leads_somewhere(page: Path) -> None:
    assert broken(page, ROOT) == []


def named(nav: list[dict[str, Any]]) -> Iterator[str]:
    for entry in nav:
        for value in entry.values():
            yield from [value] if isinstance(value, str) else named(value)


def test_every_page_of_docs_has_a_place_in_the_navigation() -> None:
    config = tomllib.loads((ROOT / "zensical.toml").read_text(encoding="utf-8"))
    placed = list(named(config["project"]["nav"]))
    decisions = ROOT / "docs" / "decisions" / "README.md"
    placed += [f"docs/decisions/{link.path}" for link in links(decisions.read_text("utf-8"))]
    docs = {str(path.relative_to(ROOT)) for path in ROOT.glob("docs/**/*.md")}
    assert len(placed) == len(set(placed))
    assert docs - set(placed) == set(), "add it to zensical.toml or docs/decisions/README.md"
    assert [path for path in placed if not (ROOT / path).is_file()] == []


# -- the tools themselves ------------------------------------------------------------------------


def test_links_are_found_and_code_is_left_alone() -> None:
    text = (
        "[a](b.md) and `[c](d.md)` and [`e`](f.md#g)\n[over two\nlines](h.md) [out](https://x.y)\n"
        "```text\n[in](code.md)\n```\n![picture](i.png) [here](#j)\n"
    )
    assert list(links(text)) == [
        Link(1, "b.md", ""),
        Link(1, "f.md", "g"),
        Link(2, "h.md", ""),
        Link(7, "i.png", ""),
        Link(7, "", "j"),
    ]


@pytest.mark.parametrize(
    ("heading", "slug"),
    [
        ("What `x()` is, and why", "what-x-is-and-why"),
        ("inline://", "inline"),
        ("A - b_c", "a---b_c"),
        ("With [a link](b.md)", "with-a-link"),
    ],
)
def test_a_headings_anchor(heading: str, slug: str) -> None:
    assert slugged(heading) == slug


def test_headings_of_the_same_name_are_told_apart() -> None:
    assert anchors('# A\n## A\n```text\n# B\n```\n<a id="c"></a>\n') == {"a", "a-1", "c"}


@pytest.mark.parametrize(
    ("link", "complaint"),
    [
        ("[a](there.md#yes)", None),
        ("[a](there.md)", None),
        ("[a](folder/)", "is no file; name a file in it"),
        ("[a](nowhere.md)", "page.md:1: nowhere.md is no file"),
        ("[a](there.md#no)", "there.md has no #no"),
        ("[a](#no)", "page.md has no #no"),
        ("[a](../../out.md)", "leads out of the repository"),
    ],
)
def test_what_is_wrong_with_a_link(tmp_path: Path, link: str, complaint: str | None) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "there.md").write_text("# Yes\n", encoding="utf-8")
    page = tmp_path / "page.md"
    page.write_text(f"{link}\n", encoding="utf-8")
    problems = broken(page, tmp_path)
    assert len(problems) == (complaint is not None)
    if complaint is not None:
        assert complaint in problems[0]


def test_pages_and_what_they_link_to_are_staged(tmp_path: Path) -> None:
    root = tmp_path / "root"
    for name, text in {
        "README.md": "[code](code.py) [more](elsewhere/more.md)",
        "docs/page.md": "alone",
        "elsewhere/more.md": "[last](last.md)",
        "elsewhere/last.md": "",
        "elsewhere/other.md": "",
        "code.py": "",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    folder = tmp_path / "stage"
    folder.mkdir()
    (folder / "old.md").touch()
    assert stage(root, folder) == 5
    staged = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert staged == {
        "README.md",
        "code.py",
        "docs/page.md",
        "elsewhere/last.md",
        "elsewhere/more.md",
    }
