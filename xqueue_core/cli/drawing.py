"""Tables on a terminal: ids, workers and times stay whole, free text is what shrinks."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from xqueue_core.cli.output import COLOURS, Table, cell, numeric

if TYPE_CHECKING:
    from rich.text import Text

#: Cells between two columns, and at the two edges together.
GAP, EDGE = 3, 2
#: Columns of free text: they are cut, with an ellipsis, to what is left of the width.
CUT = frozenset({"payload", "reason", "error"})
#: Columns of several words: they are folded between words.
FOLDED = frozenset({"holders", "lanes", "detail", "value", "problem", "says", "target", "rule"})
#: A cut column is no use below this width (cells); a folded one folds longer words than this.
LEAST, WORD = 12, 40

_TIME = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)\.\d{3}Z")


def drawn(table: Table, width: int, today: str = "") -> Any:
    """The table as rich draws it within so many cells.

    What does not fit has shorter times first: times of day, with the date where that is not
    ``today`` (``2030-01-31``; else the real one, UTC). Then the columns that can shrink go below
    the others, on lines of their own.
    """
    today = today or datetime.now(UTC).date().isoformat()
    for one in (table, narrowed(table, width), _short_times(table, today)):
        widths = _widths(narrowed(one, width), width)
        if widths is not None:
            return _as_table(narrowed(one, width), widths)
    return _stacked(narrowed(_short_times(table, today), 0), width)


def narrowed(table: Table, width: int) -> Table:
    """The table without columns in which nothing stands, as many of them as make it fit (cells)."""
    kept = list(range(len(table.columns)))
    need = [_longest(table, n) for n in kept]
    for n in reversed(kept[1:]):
        if sum(need[k] for k in kept) + GAP * (len(kept) - 1) + EDGE <= width:
            break
        if all(row[n] in (None, "", 0, "none") for row in table.rows):
            kept.remove(n)
    return Table([table.columns[n] for n in kept], [[row[n] for n in kept] for row in table.rows])


def _widths(table: Table, width: int) -> list[int] | None:
    """How wide each column is; None if it does not fit."""
    longest = [_longest(table, n) for n in range(len(table.columns))]
    widths = [min(most, _least(table, n)) for n, most in enumerate(longest)]
    left = width - sum(widths) - GAP * (len(widths) - 1) - EDGE
    if left < 0:
        return None
    while left > 0:  # the narrowest that still lacks something gets a cell
        lacking = [n for n, most in enumerate(longest) if widths[n] < most]
        if not lacking:
            break
        widths[min(lacking, key=lambda n: widths[n])] += 1
        left -= 1
    return widths


def _least(table: Table, column: int) -> int:
    name = table.columns[column]
    if name in CUT:
        return max(len(name), LEAST)
    if name in FOLDED:
        words = (word for row in table.rows for word in cell(row[column]).split())
        return max(len(name), min(max(map(_cells, words), default=0), WORD))
    return _longest(table, column)


def _longest(table: Table, column: int) -> int:
    cells = (_cells(cell(row[column])) for row in table.rows)
    return max(len(table.columns[column]), *cells, 0)


def _cells(text: str) -> int:
    from rich.cells import cell_len

    return cell_len(text)


def _short_times(table: Table, today: str) -> Table:
    def short(value: object) -> object:
        found = _TIME.fullmatch(value) if isinstance(value, str) else None
        if found is None:
            return value
        return f"{found[2]}Z" if found[1] == today else f"{found[1]}T{found[2]}Z"

    return Table(table.columns, [[short(value) for value in row] for row in table.rows])


def _as_table(table: Table, widths: Sequence[int]) -> Any:
    from rich import box
    from rich.table import Table as Drawn

    result = Drawn(box=box.SIMPLE_HEAD, pad_edge=False)
    for n, name in enumerate(table.columns):
        result.add_column(
            name,
            justify="right" if numeric(table, n) else "left",
            overflow="fold" if name in FOLDED else "ellipsis",
            no_wrap=name not in FOLDED,
            width=widths[n],
        )
    for row in table.rows:
        result.add_row(*map(_styled, row))
    return result


def _stacked(table: Table, width: int) -> Any:
    """Each row with what does not fit below it: what can shrink has a line for each column."""
    from rich.console import Group
    from rich.text import Text

    firm = [n for n, name in enumerate(table.columns) if name not in CUT | FOLDED]
    widths = {n: _longest(table, n) for n in firm}
    # Nearer to each other only if they all stand in the row then.
    gap = 1 if _beside(widths, 1, width) == firm else 2
    gap = 2 if _beside(widths, 2, width) == firm else gap
    beside = _beside(widths, gap, width)

    def line(cells: Sequence[Text]) -> Text:
        padded = []
        for text, n in zip(cells, beside, strict=True):
            room = Text(" " * (widths[n] - text.cell_len))
            padded.append(room + text if numeric(table, n) else text + room)
        joined = Text(" " * gap).join(padded)
        joined.rstrip()
        return joined

    head = line([Text(table.columns[n]) for n in beside])
    head.stylize("bold")
    lines = [Text(""), head]
    for row in table.rows:
        lines.append(line([_styled(row[n]) for n in beside]))
        left = [f"{table.columns[n]}: {cell(row[n])}" for n in firm if n not in beside]
        if left:
            lines.append(Text(f"    {', '.join(left)}"))
        for n, name in enumerate(table.columns):
            if n not in widths and row[n] not in (None, "", "none"):
                lines.append(_below(name, row[n]))
    return Group(*lines, Text(""))


def _beside(widths: Mapping[int, int], gap: int, width: int) -> list[int]:
    """The first columns, as many as fit into a row; one at least."""
    end = -gap
    found: list[int] = []
    for n, own in widths.items():
        end += gap + own
        if found and end > width:
            break
        found.append(n)
    return found


def _below(name: str, value: object) -> Text:
    from rich.text import Text

    cut = name in CUT
    text = Text(f"    {name}: {cell(value)}", no_wrap=cut, overflow="ellipsis" if cut else "fold")
    text.stylize("dim", 0, 4 + len(name) + 1)
    return text


def _styled(value: object) -> Text:
    from rich.text import Text

    # As Text, so that brackets in what users wrote are no markup.
    return Text(text := cell(value), style=COLOURS.get(text, ""))
