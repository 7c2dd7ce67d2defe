"""Writes the table in ``docs/states.md``: ``PYTHONPATH=tests python -m support.states_page``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from support.situations import COMMANDS, NOW, OUTCOMES, SITUATIONS
from xqueue_core.calls import Settle
from xqueue_core.commands import Command, Lose, Said
from xqueue_core.task import Record
from xqueue_core.transitions import apply

PAGE = Path(__file__).parents[2] / "docs" / "states.md"
BEGIN, END = "<!-- table: begin -->\n", "<!-- table: end -->\n"
COMMAND = "PYTHONPATH=tests python -m support.states_page"

#: Columns of the first table: heading and situation.
_STATES = {
    "absent": "absent",
    "scheduled": "scheduled",
    "scheduled, due": "due",
    "pending": "pending",
    "pending, waited too long": "overdue",
    "parked": "parked",
    "processing": "processing",
    "processing, cancel requested": "told",
    "final": "success",
    "final, replayed before": "failed-again",
    "final, canceled before": "canceled",
    "final, told to end before": "told-success",
    "final, past its time": "old-success",
    "moving, moved": "moved",
}
#: Columns of the second one.
_RUNNING = {
    "attempts left": "processing",
    "last attempt": "last",
    "two losses before": "losing",
    "cancel requested": "told",
}


def tables() -> str:
    """Both tables, as Markdown."""
    wishes = {name: [_wish(name, column) for column in _STATES.values()] for name in COMMANDS}
    settles = {name: [_outcome(name, column) for column in _RUNNING.values()] for name in OUTCOMES}
    for waited, what in ((False, "the worker died"), (True, "the worker died while it waited")):
        settles[what] = [_loss(column, waited) for column in _RUNNING.values()]
    first = _table("command", list(_STATES), wishes)
    second = _table("outcome of the current delivery", list(_RUNNING), settles)
    return f"{first}\n{second}"


def page(old: str) -> str:
    """The page with its tables written anew."""
    before, _, rest = old.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{tables()}\n{END}{after}"


def _wish(name: str, situation: str) -> str:
    return _cell(SITUATIONS[situation](), COMMANDS[name])


def _outcome(name: str, situation: str) -> str:
    record = SITUATIONS[situation]()
    return _cell(record, Settle("type:1", record.delivery if record else 0, OUTCOMES[name]))


def _loss(situation: str, waited: bool) -> str:
    record = SITUATIONS[situation]()
    return _cell(record, Lose(record.delivery if record else 0, waited))


def _cell(before: Record | None, command: Command) -> str:
    did = apply(before, command, NOW)
    if did.record is before:
        return f"*{did.verdict.value}*"
    after = did.record
    state = "gone" if after is None else "parked" if after.parked else after.state.value
    if did.verdict is Said.REQUESTED:
        state = "told"
    notes = [] if did.verdict in (Said.APPLIED, Said.REQUESTED) else [f"*{did.verdict.value}*"]
    if after is not None:
        charged = after.attempt - (before.attempt if before else 0)
        if charged and not after.replays:
            notes.append(f"attempt {charged:+d}")
    return f"**{state}**" + (f" ({', '.join(notes)})" if notes else "")


def _table(corner: str, columns: Sequence[str], rows: dict[str, list[str]]) -> str:
    lines = [[corner, *columns], ["---"] * (len(columns) + 1)]
    lines += [[f"`{name}`" if name[0].isupper() else name, *cells] for name, cells in rows.items()]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    print(f"wrote {PAGE}")
