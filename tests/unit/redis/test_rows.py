"""A task's row has the same places in the scripts and in Python."""

from __future__ import annotations

import re

from xqueue_core.envelope import decode_task, encode_task
from xqueue_core.task import State, Task
from xqueue_redis.rows import Row, fresh, read
from xqueue_redis.scripts import source


def test_the_places_are_those_of_the_scripts() -> None:
    text = source("lib/row").partition("local A = ")[0]
    places: dict[int, str] = {}
    for names, numbers in re.findall(r"^local ([A-Z_, ]+) = ([\d, ]+)$", text, re.MULTILINE):
        pairs = zip(names.split(", "), numbers.split(", "), strict=True)
        places |= {int(number): name for name, number in pairs if name != "WIDTH"}
    assert [places[n].lower() for n in sorted(places)] == list(Row.__struct_fields__)
    assert sorted(places) == list(range(1, len(places) + 1))
    assert f"local WIDTH = {len(places)}" in text


def test_a_fresh_row_says_what_scripts_ask_of_the_envelope() -> None:
    task = Task(id="a:1", lane="b", priority=3, max_retry=7, key="k", queue_timeout=5.0)
    row = read(fresh(task))
    assert (row.state, row.lane, row.priority, row.max_retry) == (State.PENDING, "b", 3, 7)
    assert (row.key, row.keyed, row.queue_timeout, row.readable) == ("k", True, 5.0, True)
    plain = read(fresh(Task(id="a:2", lane="a")))
    assert (plain.key, plain.keyed, plain.queue_timeout, plain.entry) == ("", False, -1.0, "")
    raw = encode_task(task)
    assert decode_task(row.record(raw).raw) == task
