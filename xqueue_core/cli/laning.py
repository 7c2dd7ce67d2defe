"""Commands that are about lanes which must be there."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from xqueue_core.cli.caller import Caller, ask, control
from xqueue_core.cli.exits import NotFound
from xqueue_core.cli.views import asked_stats
from xqueue_core.errors import XQueueError

if TYPE_CHECKING:
    from xqueue_core.app import XQueue
    from xqueue_core.calls import Pause, Resume


async def check_lanes(app: XQueue, lanes: Sequence[str]) -> None:
    """Raise NotFound if the broker does not know one of these lanes.

    It names the lane of a type of that name, else the nearest.
    """
    stats = await ask(app, asked_stats)
    known = sorted(stats.lanes)
    homes = {type_: name for name in known for type_ in stats.lanes[name].types}
    for lane in lanes:
        if lane not in known:
            near = difflib.get_close_matches(lane, known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            if lane in homes:
                hint = f"; type {lane!r} is in lane {homes[lane]!r}"
            raise NotFound(f"there is no lane {lane!r}{hint} (known: {', '.join(known) or 'none'})")


def set_paused(
    call: Caller, lanes: Sequence[str], make: Callable[[str], Pause | Resume], paused: bool
) -> None:
    """Pause or resume lanes, and show them. Raises NotFound before anything is done."""

    async def work(app: XQueue) -> None:
        from xqueue_core.calls import Did

        await check_lanes(app, lanes)
        for lane, verdict in zip(
            lanes, await control(app, [make(lane) for lane in lanes]), strict=True
        ):
            if verdict.did is not Did.APPLIED:
                raise XQueueError(f"lane {lane!r}: {verdict.did.value}")

    call.run(work)
    word = "paused" if paused else "resumed"
    data = {"lanes": [{"lane": lane, "paused": paused} for lane in lanes]}
    call.out.show(data, *(f"{word} {lane}" for lane in lanes))
