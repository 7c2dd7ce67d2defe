"""The commands: each module is imported when its command is used."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import click

from xqueue_core.errors import ConfigError, XQueueError

#: Command: where it lives, and what ``--help`` says without importing it.
COMMANDS = {
    "worker": ("xqueue_core.cli.worker:worker", "Run tasks."),
    "submit": ("xqueue_core.cli.tasks:submit", "Submit a task by its type's name."),
    "task": ("xqueue_core.cli.tasks:task", "Look at tasks."),
    "stats": ("xqueue_core.cli.tasks:stats", "Show how many tasks there are, by lane and type."),
}


class Lazy(click.Group):
    """A group whose commands are imported when they are used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All commands, in the order of ``COMMANDS``."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(import_module(module), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List them without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; what went wrong is told in one line."""
        try:
            with _short_warnings():
                return super().invoke(ctx)
        except ConfigError as error:
            click.echo(f"Error: {error}", err=True)
            ctx.exit(2)
        except XQueueError as error:
            click.echo(f"Error: {error}", err=True)
            ctx.exit(1)


@contextmanager
def _short_warnings() -> Iterator[None]:
    """Within, what is wrong with the environment's settings is told once, in one line each."""
    told: set[str] = set()
    with warnings.catch_warnings():
        others = warnings.showwarning

        def show(
            message: Warning | str, category: type[Warning], *where: Any, **named: Any
        ) -> None:
            # By name: importing the class would import all that settings need.
            if category.__name__ != "SettingsWarning":
                others(message, category, *where, **named)
            # What a supervised process would say, its supervisor has said.
            elif str(message) not in told and "--supervised" not in sys.argv:
                told.add(str(message))
                click.echo(f"Warning: {message}", err=True)

        warnings.showwarning = show
        yield


@click.group(cls=Lazy, context_settings={"help_option_names": ["-h", "--help"]})
def xqueue() -> None:
    """XQueue: a task queue with the same guarantees on every broker."""
