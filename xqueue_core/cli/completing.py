"""What a shell may complete by asking the broker: within a short time, or nothing at all."""

from __future__ import annotations

import asyncio
import io
import os
import threading
import warnings
from collections.abc import Awaitable, Callable
from contextlib import redirect_stderr, redirect_stdout
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from xqueue_core.abc import TaskView
    from xqueue_core.app import XQueue
    from xqueue_core.connect import Connection

#: The variable by which a shell asks.
VARIABLE = "_XQUEUE_COMPLETE"
#: Longest time for one completion, importing the app included (seconds), unless the variable
#: ``_XQUEUE_COMPLETE_SECONDS`` says otherwise.
DEADLINE = 2.0
PATIENCE = "_XQUEUE_COMPLETE_SECONDS"
#: Most names that are offered, and most ids that are looked at for them.
MOST, LOOKED_AT = 50, 1_000

Find = Callable[["TaskView", str], Awaitable[list[str]]]
Complete = Callable[[click.Context, click.Parameter, str], list[str]]


async def _lanes(view: TaskView, _: str) -> list[str]:
    return sorted((await view.stats()).lanes)


async def _types(view: TaskView, _: str) -> list[str]:
    return sorted({name for lane in (await view.stats()).lanes.values() for name in lane.types})


async def _workers(view: TaskView, _: str) -> list[str]:
    return [one.beat.worker for one in await view.workers()]


async def _schedules(view: TaskView, _: str) -> list[str]:
    return sorted(one.name for one in await view.schedules())


async def _ids(view: TaskView, begin: str) -> list[str]:
    from xqueue_core.views import Filter

    type_, colon, _ = begin.partition(":")
    filter = Filter(types=frozenset({type_} if colon else ()))
    return [info.id for info in (await view.list(filter, None, LOOKED_AT)).items]


def _completes(find: Find) -> Complete:
    def complete(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
        names = found(ctx.params.get("app"), ctx.params.get("url"), find, incomplete, _deadline())
        return [name for name in names if name.startswith(incomplete)][:MOST]

    return complete


def _deadline() -> float:
    try:
        return float(os.environ.get(PATIENCE, DEADLINE))
    except ValueError:
        return DEADLINE


def found(
    app: str | None, url: str | None, find: Find, begin: str, deadline: float = DEADLINE
) -> list[str]:
    """What the broker answers within the deadline (seconds); nothing if anything goes wrong.

    What the app's module prints meanwhile is thrown away, for the shell would take it for names.
    """
    answer: list[str] = []

    def work() -> None:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                answer.extend(_asked(app, url, find, begin, deadline))
        # A shell that completes shows no errors: whatever it is, there is nothing to offer.
        except BaseException:  # noqa: BLE001
            answer.clear()

    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        # A thread of its own, for the app's module may take any time, and is not to be awaited.
        thread = threading.Thread(target=work, daemon=True, name="xqueue-complete")
        thread.start()
        thread.join(deadline)
        return [] if thread.is_alive() else answer


def _asked(app: str | None, url: str | None, find: Find, begin: str, deadline: float) -> list[str]:
    from xqueue_core.cli.caller import Caller, ask

    async def call(connection: Connection) -> list[str]:
        return await find(connection.faces.needed("view"), begin)

    async def bounded(app: XQueue) -> list[str]:
        async with asyncio.timeout(deadline):
            return await ask(app, call)

    return Caller(app, url, as_json=True).run(bounded)


def files(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Files, which the shell finds by itself."""
    from click.shell_completion import CompletionItem

    return [CompletionItem(incomplete, type="file")]


def script(shell: str) -> str:
    """What a shell must run so that it asks this program: ``bash``, ``zsh`` or ``fish``."""
    from click.shell_completion import FishComplete, ZshComplete

    from xqueue_core.cli.bash import SCRIPT
    from xqueue_core.cli.group import xqueue

    if shell == "bash":
        return SCRIPT
    kinds = {"zsh": ZshComplete, "fish": FishComplete}
    made = kinds[shell](xqueue, {}, "xqueue", VARIABLE)
    return made.source_template % made.source_vars()


LANE = _completes(_lanes)
TYPE = _completes(_types)
WORKER = _completes(_workers)
SCHEDULE = _completes(_schedules)
ID = _completes(_ids)
