"""``xqueue task show``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from xqueue_core.cli.caller import Caller, asks
from xqueue_core.cli.completing import ID

if TYPE_CHECKING:
    from xqueue_core.app import XQueue
    from xqueue_core.views import TaskInfo


@click.command()
@click.argument("id", shell_complete=ID)
@asks
def show(call: Caller, id: str) -> None:
    """Show one task with its history."""
    from xqueue_core.cli.shown.tasks import details, parts

    info, worker = call.run(lambda app: _look(app, id))
    call.out.show(details(info), *parts(info, worker))


async def _look(app: XQueue, id: str) -> tuple[TaskInfo, str | None]:
    """The task, and in a word how the worker is that has it; None if none has, or nobody knows."""
    from xqueue_core.cli.caller import ask
    from xqueue_core.cli.shown.workers import state_of
    from xqueue_core.cli.views import asked_workers
    from xqueue_core.errors import Unsupported
    from xqueue_core.task import State

    info = await app.handle(id).info()
    if info.state is not State.PROCESSING or info.quarantined:
        return info, None
    try:
        workers = await ask(app, asked_workers)
    except Unsupported:
        return info, None
    return info, next((state_of(one) for one in workers if one.beat.worker == info.worker), None)
