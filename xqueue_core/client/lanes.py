"""Where tasks of types go that only the broker knows: looked up again for each try of a put.

The owner of a type may move it to another lane at any time; whoever submits it by its name alone
must neither send it to the old one nor declare that one again.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from xqueue_core.calls import Did, Locate
from xqueue_core.client.declaring import unknown_type
from xqueue_core.connect import Connection
from xqueue_core.task import Task

if TYPE_CHECKING:
    from xqueue_core.errors import UnknownType
    from xqueue_core.views import Stats


class ByName(Task):
    """A task of a type that its submitter does not declare: ``lane`` is where it was last seen."""


async def located(connection: Connection, types: Collection[str]) -> dict[str, str]:
    """The lanes in which these types are declared now; without those that nobody declared."""
    asked = list(dict.fromkeys(types))
    verdicts = await connection.faces.queue.control([Locate(one) for one in asked])
    found = {
        one: verdict.of
        for one, verdict in zip(asked, verdicts, strict=True)
        if verdict.did is Did.APPLIED
    }
    if any(verdict.did is Did.UNSUPPORTED for verdict in verdicts):
        # A view knows less: a type that has moved may be shown in its old lane too.
        seen = await _seen(connection)
        found.update((one, seen[one]) for one in asked if one in seen and one not in found)
    return found


async def unknown(connection: Connection, name: str, known: Collection[str] = ()) -> UnknownType:
    """The error for a type that nobody declared, naming those of the broker and the ``known``."""
    return unknown_type(name, {*known, *await _seen(connection)})


async def _seen(connection: Connection) -> dict[str, str]:
    stats: Stats = await connection.faces.needed("view").stats()
    return {type_: lane for lane, one in stats.lanes.items() for type_ in one.types}
