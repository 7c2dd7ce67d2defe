"""Asks an open connection why a task is not running."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xqueue_core.why import Why, ask

if TYPE_CHECKING:
    from xqueue_core.connect import Connection


class Asking:
    """The question about one task, for :meth:`xqueue_core.client.session.Session.call`."""

    def __init__(self, id: str) -> None:
        self._id = id

    async def __call__(self, connection: Connection) -> Why:
        """The answer of the broker that this connection leads to."""
        ordered = connection.capabilities.order_scope == "lane"
        resting = connection.idle is not None and connection.idle() is not None
        return await ask(
            connection.faces,
            self._id,
            ordered=ordered,
            where=connection.where,
            resting=resting,
            inline=connection.ended is not None,
        )
