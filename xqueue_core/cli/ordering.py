"""Orders to workers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from xqueue_core.calls import Did, Order
from xqueue_core.cli.caller import Caller, ask, control
from xqueue_core.cli.exits import NotFound
from xqueue_core.cli.views import asked_workers
from xqueue_core.errors import InvalidTask
from xqueue_core.views import WorkerInfo

if TYPE_CHECKING:
    from xqueue_core.app import XQueue

#: The order for a worker, given what was ordered before.
Make = Callable[[WorkerInfo], Order]


def order(call: Caller, names: Sequence[str], make: Make, said: str) -> None:
    """Give workers an order, and show what they are ordered by now.

    Args:
        call: the command.
        names: ids of workers, or beginnings of ids that fit one worker each.
        make: the order for one.
        said: what to say of each, before its id.

    Raises:
        NotFound: no worker has such an id; nothing was ordered.
        InvalidTask: a beginning fits several.
    """
    orders = call.run(lambda app: _ordered(app, names, make))
    data = [{"id": one.worker, "quiet": one.quiet, "stop": one.stop} for one in orders]
    call.out.show({"workers": data}, *(f"{said} {one.worker}" for one in orders))


async def _ordered(app: XQueue, names: Sequence[str], make: Make) -> list[Order]:
    workers = await ask(app, asked_workers)
    orders = [make(_named(name, workers)) for name in names]
    for one, verdict in zip(orders, await control(app, orders), strict=True):
        if verdict.did is not Did.APPLIED:
            raise NotFound(f"worker {one.worker} is gone")
    return orders


def _named(name: str, workers: Sequence[WorkerInfo]) -> WorkerInfo:
    ids = {one.beat.worker: one for one in workers}
    if name in ids:
        return ids[name]
    fit = [id for id in ids if id.startswith(name)]
    if len(fit) == 1:
        return ids[fit[0]]
    if fit:
        raise InvalidTask(f"{name!r} fits several workers: {', '.join(sorted(fit))}")
    raise NotFound(f"there is no worker {name!r} (known: {', '.join(sorted(ids)) or 'none'})")
