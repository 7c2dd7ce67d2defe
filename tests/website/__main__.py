"""Build the site: ``PYTHONPATH=tests python -m website`` (`make docs`); 1 if it is wrong."""

from __future__ import annotations

import subprocess
import sys

from website.places import ROOT, SITE
from website.site import problems
from website.stage import stage

#: Of what is wrong, so many lines are printed: a page that is gone is named by every other one.
MOST = 20


def main() -> int:
    """Stage the pages, have Zensical build them, check what came out."""
    print(f"staged {stage()} files")
    # With `strict` in its configuration it ends with an error after a warning.
    command = [sys.executable, "-m", "zensical", "build", "--clean"]
    code = subprocess.run(command, cwd=ROOT, check=False).returncode
    if code:
        return 1
    wrong = problems(SITE)
    for line in wrong[:MOST]:
        print(line, file=sys.stderr)
    print(
        f"{SITE.relative_to(ROOT)}: {len(list(SITE.rglob('*.html')))} pages, {len(wrong)} problems"
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
