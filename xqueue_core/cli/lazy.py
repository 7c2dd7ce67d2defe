"""Groups of commands whose modules are imported when they are used."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import NamedTuple

import click


class Entry(NamedTuple):
    """A command: where it lives, and what its group's help says without importing it."""

    where: str  # ``module:attribute``
    text: str


class Lazy(click.Group):
    """A group that imports a command when it is used, and no other.

    Args:
        entries: its commands by name, in the order in which help lists them.
    """

    def __init__(self, name: str, entries: Mapping[str, Entry], help: str) -> None:
        super().__init__(name, help=help)
        self.entries = entries

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All commands, in their order."""
        return list(self.entries)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        if cmd_name not in self.entries:
            return None
        module, _, name = self.entries[cmd_name].where.partition(":")
        command: click.Command = getattr(import_module(module), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List them without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.text) for name, entry in self.entries.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that is named. Raises UsageError naming the nearest if there is none."""
        unknown = bool(args) and args[0] not in self.entries and not args[0].startswith("-")
        if unknown and not ctx.resilient_parsing:
            import difflib

            near = difflib.get_close_matches(args[0], self.entries, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise click.UsageError(f"No such command {args[0]!r}.{hint}", ctx)
        return super().resolve_command(ctx, args)
