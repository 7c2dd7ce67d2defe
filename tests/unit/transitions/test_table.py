"""The state machine does what the table says, for every situation and command."""

from __future__ import annotations

import re
from typing import NamedTuple, get_args

import msgspec
import pytest

from support.situations import COMMANDS, LOST, NEVER, NOW, OUTCOMES, SETTLED, SITUATIONS
from unit.transitions import table
from xqueue_core.calls import Settle
from xqueue_core.commands import Command, Lose, Said, Step
from xqueue_core.task import AnyOutcome, EventName, Record, State
from xqueue_core.transitions import apply

RUNNING = (*table.GROUPS["RUNNING"], *table.GROUPS["TOLD"])


class Cell(NamedTuple):
    """A cell of the table, taken apart."""

    verdict: Said
    state: str = ""
    event: str = ""
    attempt: str = ""
    losses: str = ""


def read(text: str) -> Cell:
    verdict, _, rest = text.partition(" > ")
    if not rest:
        return Cell(Said(verdict))
    state, event, *changes = rest.split()
    how = {change[0]: change[1:] for change in changes}
    return Cell(Said(verdict), state, event, how.get("a", ""), how.get("l", ""))


def counted(before: int, change: str) -> int:
    """A count after a change such as ``+1``, ``=0`` or none."""
    return int(change[1:]) if change.startswith("=") else before + int(change or 0)


def check(situation: str, command: Command, text: str) -> None:
    """Carry out the command in the situation and compare everything with the cell."""
    cell = read(text)
    before = SITUATIONS[situation]()
    kept = msgspec.msgpack.encode(before)
    did = apply(before, command, NOW)
    assert msgspec.msgpack.encode(before) == kept, "the record given was changed"
    assert did.verdict is cell.verdict
    if not cell.state:
        assert did.record is before
        assert did.events == ()
        return
    compare(before, did, cell)


def compare(before: Record | None, did: Step, cell: Cell) -> None:
    [event] = did.events
    assert event.name is EventName(cell.event)
    assert event.seq == (before.seq if before else 0) + 1
    assert (event.id, event.lane, event.at) == ("type:1", "lane", NOW)
    after = did.record
    if after is None:
        assert cell.state == "none"
        return
    assert after is not before
    assert (after.state, after.parked) == (
        State.PENDING if cell.state == "parked" else State(cell.state),
        cell.state == "parked",
    )
    assert (after.seq, after.state) == (event.seq, event.state)
    assert (after.attempt, after.delivery) == (event.attempt, event.delivery)
    was = before or Record(b"", State.PENDING, 0, 0.0, 0.0, 0.0)
    assert after.attempt == counted(was.attempt, cell.attempt)
    assert after.losses == counted(was.losses, cell.losses)
    assert after.delivery == was.delivery + (cell.event == "leased")
    assert after.finished_at == (NOW if after.state.final else 0.0)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_in_every_situation(name: str) -> None:
    cells = table.cells(name)
    assert cells.keys() == SITUATIONS.keys()
    for situation, cell in cells.items():
        check(situation, COMMANDS[name], cell)


@pytest.mark.parametrize("situation", RUNNING)
@pytest.mark.parametrize("name", OUTCOMES)
def test_every_outcome_of_the_current_delivery(name: str, situation: str) -> None:
    left, last, told = table.OUTCOMES[name]
    cell = told if situation in table.GROUPS["TOLD"] else last if situation == "last" else left
    before = SITUATIONS[situation]()
    assert before is not None
    check(situation, Settle("type:1", before.delivery, OUTCOMES[name]), cell)
    after = apply(before, Settle("type:1", before.delivery, OUTCOMES[name]), NOW).record
    assert after is not None
    assert after.settled == [*before.settled, before.delivery]
    assert (after.history[-1].ended_at, after.history[-1].delivery) == (NOW, before.delivery)
    assert after.history[-1].how


@pytest.mark.parametrize("name", OUTCOMES)
@pytest.mark.parametrize("token", [SETTLED, LOST, NEVER])
def test_every_outcome_of_every_other_token(token: int, name: str) -> None:
    for situation in SITUATIONS:
        expected = "repeated" if token == SETTLED else "lost"
        if situation == "absent":
            expected = "lost"
        elif situation in table.GROUPS["AWAY"]:
            expected = "moved"
        check(situation, Settle("type:1", token, OUTCOMES[name]), expected)


@pytest.mark.parametrize("situation", SITUATIONS)
def test_a_repeated_settle_is_told_so_and_a_late_one_is_lost(situation: str) -> None:
    before = SITUATIONS[situation]()
    if before is None or before.state is State.PROCESSING:
        return
    known = before.delivery in before.settled
    cell = "moved" if before.state in (State.MOVING, State.MOVED) else ("lost", "repeated")[known]
    for outcome in OUTCOMES.values():
        check(situation, Settle("type:1", before.delivery, outcome), cell)


@pytest.mark.parametrize("situation", RUNNING)
def test_the_loss_of_the_current_delivery(situation: str) -> None:
    before = SITUATIONS[situation]()
    assert before is not None
    check(situation, Lose(before.delivery), table.LOSSES[situation])
    check(situation, Lose(before.delivery, waited=True), table.WAITED[situation])


def test_the_table_is_complete() -> None:
    records = [make() for make in SITUATIONS.values()]
    assert {record.state for record in records if record} == set(State)
    assert None in records
    named = {re.sub(r" \(.*", "", name) for name in table.WISHES}
    assert table.WISHES.keys() == COMMANDS.keys()
    assert named | {"Settle"} == {command.__name__ for command in get_args(Command)}
    assert table.OUTCOMES.keys() == OUTCOMES.keys()
    named = {re.sub(r" \(.*", "", name) for name in OUTCOMES}
    assert named == {outcome.__name__ for outcome in get_args(AnyOutcome)}
    assert table.LOSSES.keys() == table.WAITED.keys() == set(RUNNING)
    assert {one for group in table.GROUPS.values() for one in group} | {"absent"} == set(SITUATIONS)
