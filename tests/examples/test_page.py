"""``docs/web-frameworks.md`` shows the examples as they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.docs_page import snippets

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "web-frameworks.md"
SHOWN = {
    "fastapi_app/jobs.py": "fastapi_app/jobs.py",
    "fastapi_app/main.py": "fastapi_app/main.py",
    "website/settings.py": "django_site/website/settings.py",
    "website/jobs.py": "django_site/website/jobs.py",
    "website/views.py": "django_site/website/views.py",
    "website/urls.py": "django_site/website/urls.py",
    "website/worker.py": "django_site/website/worker.py",
}


@pytest.mark.parametrize("name", SHOWN)
def test_the_page_shows_what_is_tested(name: str) -> None:
    shown = {one.file: one.text for one in snippets(PAGE.read_text(encoding="utf-8")) if one.file}
    assert shown[name] == (ROOT / "examples" / SHOWN[name]).read_text(encoding="utf-8")
