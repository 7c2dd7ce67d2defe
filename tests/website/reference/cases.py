"""The cases of the conformance kit."""

from __future__ import annotations

from itertools import groupby

from website.reference.texts import inline, table
from xqueue_core.conformance.cases import Case, all_cases

INTRO = """# Cases of the conformance kit

What every backend must do, as cases with fixed ids:
[how to run them](../../xqueue_core/conformance/README.md). `xqueue conformance URL --only C24` runs
one. What a case needs in upper case are abilities: it concerns the backends that claim all of them.
What it needs in lower case the broker or the harness must have.
"""


def page() -> str:
    """A table for each file of cases."""
    cases = sorted(all_cases(), key=lambda case: case.group)
    parts = [INTRO, f"There are {len(cases)} cases.\n"]
    for group, members in groupby(cases, key=lambda case: case.group):
        rows = [_row(case) for case in sorted(members, key=lambda case: case.id)]
        parts += [f"## {group}\n", table(("id", "what must hold", "needs"), rows)]
    return "\n".join(parts)


def _row(case: Case) -> tuple[str, str, str]:
    needs = [*sorted(map(str, case.needs)), *sorted(case.traits)]
    return case.id, inline(case.doc), ", ".join(f"`{one}`" for one in needs)
