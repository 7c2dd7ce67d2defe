"""What was probably meant by a lane or type that the broker does not know."""

from __future__ import annotations

import difflib
from collections.abc import Collection
from typing import TYPE_CHECKING

from xqueue_core.cli.caller import ask
from xqueue_core.cli.output import echo, printable
from xqueue_core.cli.views import asked_stats

if TYPE_CHECKING:
    from xqueue_core.app import XQueue


async def warn_of_unknown(app: XQueue, types: Collection[str], lanes: Collection[str]) -> None:
    """Say on standard error which of these names are not known: that is why nothing was found.

    It is no error: a name becomes known with its first task or worker.
    """
    if not (types or lanes):
        return
    stats = await ask(app, asked_stats)
    known = {
        "type": {name for lane in stats.lanes.values() for name in lane.types},
        "lane": set(stats.lanes),
    }
    for what, names in (("type", types), ("lane", lanes)):
        for name in names:
            if name not in known[what]:
                echo(printable(f"Warning: {_unknown(what, name, known[what])}"), err=True)


def _unknown(what: str, name: str, known: Collection[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"there is no {what} {name!r}{hint} (known: {', '.join(sorted(known)) or 'none'})"
