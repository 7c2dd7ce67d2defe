"""Write the pages, and name those that changed."""

from __future__ import annotations

from website.places import ROOT
from website.reference import PAGES, write

changed = write()
for path in changed:
    print(f"wrote {path.relative_to(ROOT)}")
print(f"{len(PAGES)} pages, {len(changed)} changed")
