"""Many tasks at once: which are meant."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import click

from xqueue_core.cli.params import DURATION

if TYPE_CHECKING:
    from xqueue_core.cli.caller import Caller
    from xqueue_core.views import Filter, TaskInfo

T = TypeVar("T")

#: States of tasks that have not ended.
LIVE = ("scheduled", "pending", "processing")
#: Tasks that are looked up in one call.
PART = 200


def confirmed(command: Callable[..., T]) -> Callable[..., T]:
    """Give a command ``--dry-run`` and ``--yes``."""
    dry = click.option("--dry-run", is_flag=True, help="Count them, and change nothing.")
    return dry(click.option("--yes", is_flag=True, help="Do not ask.")(command))


def why_option(command: Callable[..., T]) -> Callable[..., T]:
    """Give a command ``--error`` and ``--older-than``."""
    older = click.option(
        "--older-than", type=DURATION, help="Ended, or else accepted, longer ago: 7d."
    )
    error = click.option("--error", callback=_text, help="With this text in type or message.")
    return older(error(command))


def _text(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    if value == "":  # most probably a variable of a script that is not set
        raise click.UsageError("--error: an empty text is in every task")
    return value


@dataclass(frozen=True, slots=True)
class Pick:
    """Which tasks are meant.

    Attributes:
        filter: what the broker looks for.
        error: this text is in the type, the message or the reason of the failure.
        older_than: they ended longer ago, or were accepted if they have not ended (seconds, by
            the broker's clock).
        quarantined: they are damaged; else they are not.
        ids: instead of all this, these.
    """

    filter: Filter
    error: str | None = None
    older_than: float | None = None
    quarantined: bool = False
    ids: Sequence[str] = ()

    def wanted(self, info: TaskInfo, now: float) -> bool:
        """True if the task is one of them, as far as the broker's filter does not tell."""
        if info.quarantined is not self.quarantined:
            return False
        at = info.finished_at or info.accepted_at
        if self.older_than is not None and not 0 < at <= now - self.older_than:
            return False
        if self.error is None:
            return True
        failure = info.failure
        texts = [info.reason]
        texts += [] if failure is None else [failure.reason, failure.type, failure.message]
        return any(self.error.lower() in text.lower() for text in texts)


def picked(
    states: Sequence[str],
    types: Sequence[str],
    lanes: Sequence[str],
    error: str | None,
    older_than: float | None,
    default: Sequence[str],
) -> Pick:
    """What a command's options mean; ``default`` are the states if none is given.

    Raises UsageError if ``quarantined`` stands among other states.
    """
    from xqueue_core.cli.filters import made

    quarantined = "quarantined" in states
    if quarantined and len(states) > 1:
        raise click.UsageError("--state quarantined is looked at by itself")
    # A damaged record stands among the live ones: its state is in the part that cannot be read.
    wanted = LIVE if quarantined else states or default
    return Pick(made(wanted, types, lanes), error, older_than, quarantined)


async def find_all(call: Caller, pick: Pick) -> list[TaskInfo]:
    """The tasks that are meant, as they are now; those that are named and unknown are left out."""
    from xqueue_core.cli.caller import ask
    from xqueue_core.cli.nearby import warn_of_unknown
    from xqueue_core.cli.paging import every
    from xqueue_core.cli.views import asked_stats, asked_tasks

    if pick.ids:
        ids = list(dict.fromkeys(pick.ids))
        parts = [ids[n : n + PART] for n in range(0, len(ids), PART)]
        infos = [await ask(call.app, partial(asked_tasks, ids=part)) for part in parts]
        return [info for part in infos for info in part if info is not None]
    now = (await ask(call.app, asked_stats)).at
    tasks = every(call.app, pick.filter, lambda info: pick.wanted(info, now))
    found = [info async for info in tasks]
    if not found:
        await warn_of_unknown(call.app, pick.filter.types, pick.filter.lanes)
    return found


def counted(number: int) -> str:
    """A number of tasks in words."""
    return f"{number} task" if number == 1 else f"{number} tasks"
