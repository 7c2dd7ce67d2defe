"""Where the documentation is, and where its site is built."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
#: What Zensical reads: pages and what they link to, in the same folders as in the repository, so
#: that one relative link works there, on the site, and where the repository is browsed.
STAGE = ROOT / "build" / "pages"
SITE = ROOT / "build" / "site"
