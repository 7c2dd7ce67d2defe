"""How commands print: one JSON document, or text: tables on a terminal, plain columns elsewhere."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import click

#: Colours of a cell that is exactly this word.
COLOURS = {
    "success": "green",
    "processing": "cyan",
    "pending": "yellow",
    "scheduled": "blue",
    "failed": "red",
    "timeout": "red",
    "canceled": "magenta",
    "paused": "yellow",
    "alive": "green",
    "late": "yellow",
    "dead": "red",
    "ok": "green",
    "wrong": "red",
}


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under headings; numbers stand right, an empty cell shows as ``-``."""

    columns: Sequence[str]
    rows: Sequence[Sequence[object]]


#: What a command shows: lines of text, or a table.
Part = str | Table


class Output:
    """What one command prints on standard output.

    Args:
        as_json: JSON instead of text.
    """

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json

    @property
    def terminal(self) -> bool:
        """True if people see it on a terminal that can have tables."""
        out = sys.stdout
        if out is None or os.environ.get("TERM") == "dumb":
            return False
        return out.encoding.lower().startswith("utf") and out.isatty()

    def show(self, data: object, *parts: Part) -> None:
        """The one document of a command, or the same for people."""
        if self.as_json:
            echo(json.dumps(data, indent=2))
            return
        for part in parts:
            self._part(part)

    def line(self, data: object, text: str) -> None:
        """One line of a stream: JSON on one line, or text."""
        echo(json.dumps(data) if self.as_json else printable(text))

    def note(self, text: str) -> None:
        """Tell people something beside the output; JSON says it in its fields."""
        if not self.as_json:
            echo(printable(text), err=True)

    def _part(self, part: Part) -> None:
        if isinstance(part, str):
            echo(part)
        elif self.terminal:
            _rich(part)
        else:
            for line in aligned(part):
                echo(line)


def echo(text: str, *, err: bool = False) -> None:
    r"""Print a line; what the output's encoding does not have becomes an escape: ``\u2603``."""
    encoding = getattr(sys.stderr if err else sys.stdout, "encoding", None) or "utf-8"
    click.echo(text.encode(encoding, "backslashreplace").decode(encoding), err=err)


def cell(value: object) -> str:
    """A value in a table: one line that contains nothing but printable characters."""
    return printable(str(value)) if value not in (None, "") else "-"


def printable(text: str) -> str:
    r"""The text with what a terminal would obey, or cannot show, as escapes such as ``\x1b``."""
    if text.isprintable():
        return text
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape").decode() for one in text
    )


def aligned(table: Table) -> Iterable[str]:
    """The lines of a table in plain columns, two spaces apart."""
    rows = [[cell(value) for value in row] for row in table.rows]
    head = [name.upper() for name in table.columns]
    widths = [max(len(row[n]) for row in (head, *rows)) for n in range(len(head))]
    right = [numeric(table, n) for n in range(len(head))]
    for row in (head, *rows):
        cells = (
            text.rjust(width) if number else text.ljust(width)
            for text, width, number in zip(row, widths, right, strict=True)
        )
        yield "  ".join(cells).rstrip()


def _rich(table: Table) -> None:
    from rich.console import Console

    from xqueue_core.cli.drawing import drawn

    console = Console()  # knows NO_COLOR
    console.print(drawn(table, console.width))


def numeric(table: Table, column: int) -> bool:
    """True if numbers, and nothing else, stand in the column."""
    values = [row[column] for row in table.rows if row[column] not in (None, "")]
    return bool(values) and all(isinstance(one, int | float) for one in values)
