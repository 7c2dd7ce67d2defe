"""``xqueue lanes limit``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from xqueue_core.cli.caller import Caller, ask, asks
from xqueue_core.cli.completing import LANE

if TYPE_CHECKING:
    from xqueue_core.app import XQueue
    from xqueue_core.connect import Connection
    from xqueue_core.permits import KeyInfo


@click.command()
@click.argument("lane", shell_complete=LANE)
@click.argument("limit", metavar="[N|none]", required=False)
@click.option("--key", help="Of the tasks with this key, instead of the whole lane.")
@asks
def limit(call: Caller, lane: str, limit: str | None, key: str | None) -> None:
    """Set how many tasks of a lane run at once.

    It counts over all workers, and stands above what they declare until it is removed by `none`.
    Lowering it stops nothing that runs. To stop all, use `lanes pause`. Without N it is shown as
    it is.
    """
    from xqueue_core.cli.shown.lanes import limit_data

    wanted = None if limit is None else _number(limit)
    if key is not None:
        _check_key(key)
    if limit is None:
        info = call.run(lambda app: _seen(app, lane, key))
    else:
        info = call.order(lambda app: _set(app, lane, key, wanted))
    now = "no limit" if info.limit is None else f"limit {info.limit}"
    declared = "" if info.pinned or info.limit is None else ", as workers declare"
    if limit is None and info.pinned:
        declared = ", pinned"
    what = lane if key is None else f"{lane}, key {key}"
    call.out.show({"lane": lane, "key": key, **limit_data(info)}, f"{what}: {now}{declared}")


async def _seen(app: XQueue, lane: str, key: str | None) -> KeyInfo:
    from xqueue_core.cli.laning import check_lanes

    await check_lanes(app, [lane])
    return await ask(app, lambda connection: _inspected(connection, lane, key))


async def _inspected(connection: Connection, lane: str, key: str | None) -> KeyInfo:
    from xqueue_core.permits import lane_key, task_key

    name = lane_key(lane) if key is None else task_key(lane, key)
    infos: list[KeyInfo] = await connection.faces.needed("semaphore").inspect([name])
    return infos[0]


async def _set(app: XQueue, lane: str, key: str | None, limit: int | None) -> KeyInfo:
    from xqueue_core.cli.laning import check_lanes
    from xqueue_core.permits import lane_key, task_key

    await check_lanes(app, [lane])
    name = lane_key(lane) if key is None else task_key(lane, key)

    async def call(connection: Connection) -> KeyInfo:
        await connection.faces.needed("semaphore").set_limit(name, limit)
        return await _inspected(connection, lane, key)

    return await ask(app, call)


def _check_key(key: str) -> None:
    from xqueue_core.client.options import LONGEST_KEY, text

    text("key", key)
    if not 1 <= len(key) <= LONGEST_KEY:
        raise click.UsageError(f"a key is 1 to {LONGEST_KEY} characters, not {len(key)}")


def _number(text: str) -> int | None:
    if text.lower() == "none":
        return None
    if text.isdecimal() and 1 <= int(text) <= 1_000_000:
        return int(text)
    raise click.UsageError(f"a limit is 1 to 1000000, or `none`, not {text!r}; 0 is `lanes pause`")
