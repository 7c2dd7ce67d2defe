"""``xqueue top``."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from xqueue_core.cli.caller import Caller, asks
from xqueue_core.cli.params import Duration

if TYPE_CHECKING:
    from xqueue_core.app import XQueue


@click.command()
@click.option("--once", is_flag=True, help="Print one frame, and end.")
@click.option("--interval", type=Duration(0.1, 3600), default=1.0, help="Between frames; 1 s.")
@asks
def top(call: Caller, once: bool, interval: float) -> None:
    """Watch lanes and workers.

    The key q ends it, or Ctrl-C. Where there is no terminal, give --once, or --json for a line of
    JSON for each frame.
    """
    if once:
        call.run(lambda app: _once(app, call))
        return
    if not (call.out.as_json or call.out.terminal):
        raise click.UsageError("this is no terminal: give --once, or --json")
    with suppress(KeyboardInterrupt):
        call.run(lambda app: _watch_until_q(app, call, interval))


async def _once(app: XQueue, call: Caller) -> None:
    from xqueue_core.cli.watching import frame

    one = await frame(app, None)
    call.out.show(one.data(), *one.parts())


async def _watch_until_q(app: XQueue, call: Caller, interval: float) -> None:
    from xqueue_core.cli.keys import pressed

    if call.out.as_json:  # nothing is on a screen
        await _watch(app, call, interval, "")
        return
    with pressed("q") as left:
        watching = asyncio.ensure_future(
            _watch(app, call, interval, "Ctrl-C" if left is None else "q")
        )
        if left is None:
            await watching
            return
        leaving = asyncio.ensure_future(left.wait())
        try:
            await asyncio.wait({watching, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if watching.done():
                watching.result()
        finally:
            for one in (watching, leaving):
                one.cancel()
            await asyncio.wait({watching, leaving})


async def _watch(app: XQueue, call: Caller, interval: float, leave: str) -> None:
    from xqueue_core.cli.watching import frame, screen
    from xqueue_core.errors import BrokerError

    before, trouble = None, ""
    with screen(call.out, leave) as draw:
        while True:
            try:
                before, trouble = await frame(app, before), ""
            except BrokerError as error:
                trouble = str(error)
            if before is not None:
                draw(before, trouble)
            await asyncio.sleep(interval)
