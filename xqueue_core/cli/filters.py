"""The options that say which tasks are meant, the same for every command."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, TypeVar

import click

from xqueue_core.cli.completing import LANE, TYPE

if TYPE_CHECKING:
    from xqueue_core.views import Filter

T = TypeVar("T")

#: Every state that a task can have.
STATES = ("scheduled", "pending", "processing", "success", "failed", "canceled", "timeout")


def where(states: Collection[str] = STATES) -> Callable[[Callable[..., T]], Callable[..., T]]:
    """Give a command ``--state``, ``--type`` and ``--lane``, each of which may be repeated."""

    def add(command: Callable[..., T]) -> Callable[..., T]:
        for option in (
            click.option("--lane", "lanes", multiple=True, shell_complete=LANE, help="Of a lane."),
            click.option("--type", "types", multiple=True, shell_complete=TYPE, help="Of a type."),
            click.option(
                "--state",
                "states",
                multiple=True,
                type=click.Choice(list(states)),
                help="In a state.",
            ),
        ):
            command = option(command)
        return command

    return add


def paged(command: Callable[..., T]) -> Callable[..., T]:
    """Give a command ``--limit`` and ``--after``."""
    limit = click.option(
        "--limit", type=click.IntRange(1, 100_000), default=50, help="Most of them; 50."
    )
    after = click.option("--after", metavar="CURSOR", help="Go on behind an earlier page.")
    return limit(after(command))


def made(
    states: Collection[str] = (), types: Collection[str] = (), lanes: Collection[str] = ()
) -> Filter:
    """The filter for what was given; an empty field matches everything."""
    from xqueue_core.task import State
    from xqueue_core.views import Filter

    return Filter(
        states=frozenset(State(one) for one in states),
        types=frozenset(types),
        lanes=frozenset(lanes),
    )
