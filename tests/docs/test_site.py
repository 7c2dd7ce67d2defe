"""The check of a built site finds what is wrong with one; `make docs` runs it on ours."""

from __future__ import annotations

from pathlib import Path

import pytest

from website.site import problems


def site(folder: Path, body: str) -> Path:
    (folder / "more").mkdir()
    (folder / "index.html").write_text(f'<a id="here"></a>{body}', encoding="utf-8")
    (folder / "more" / "page.html").write_text('<h2 id="yes">Yes</h2>', encoding="utf-8")
    (folder / "style.css").touch()
    return folder


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ('<a href="more/page.html#yes">a</a><a href="#here">b</a>', None),
        ('<link rel="stylesheet" href="style.css"><a href=".">a</a>', None),
        ('<a href="https://example.org/">out</a><a href="mailto:a@example.org">m</a>', None),
        ('<a href="more/none.html">a</a>', "index.html: more/none.html leads nowhere"),
        ('<a href="more">a</a>', "more leads nowhere"),
        ('<a href="../out.html">a</a>', "leads nowhere"),
        ('<a href="more/page.html#no">a</a>', "names no anchor"),
        ('<a href="#no">a</a>', "names no anchor"),
        ('<img src="none.png">', "none.png leads nowhere"),
        ('<script src="https://cdn.example.org/x.js"></script>', "loads https://cdn"),
        ('<link rel="stylesheet" href="//fonts.example.org/x">', "loads //fonts"),
    ],
)
def test_what_is_wrong_with_a_site(tmp_path: Path, body: str, complaint: str | None) -> None:
    found = problems(site(tmp_path, body))
    assert len(found) == (complaint is not None), found
    if complaint is not None:
        assert complaint in found[0]


def test_an_empty_folder_is_no_site(tmp_path: Path) -> None:
    assert len(problems(tmp_path)) == 1
