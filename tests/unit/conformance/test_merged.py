"""Nothing of the merged list is left out in silence."""

from __future__ import annotations

import json

from unit.conformance.broken import BrokenHarness
from xqueue_core.conformance import LEFT_OUT, MERGED, all_cases, run
from xqueue_core.conformance.merged import item, not_built

#: Faults of the broker, what becomes of a move, and two about claims are built by and by.
MAY_BE_MISSING = {id for id in MERGED if id[0] in "MO"} | {"N137", "N139"}
#: Cases of the kit's own that bear a letter and number like those of the list.
OWN = {"J114"}


def test_the_list_is_whole() -> None:
    assert [int(id[1:]) for id in MERGED] == list(range(1, 147))
    assert "".join(dict.fromkeys(id[0] for id in MERGED)) == "ABCDEFGHIJKLMNO"
    assert all(MERGED.values())


def test_every_item_is_a_case_or_left_out_with_a_reason() -> None:
    ids = {one.id for one in all_cases()}
    assert set(not_built(ids)) <= MAY_BE_MISSING
    assert all(LEFT_OUT.values())
    assert not set(MERGED) & {item(id) for id in ids} & set(LEFT_OUT)


def test_every_case_with_a_number_is_of_the_list() -> None:
    numbered = {item(one.id) for one in all_cases() if one.id[0] in "ABCDEFGHIJKLMNO"}
    assert {id for id in numbered if not id.startswith("P")} - set(MERGED) == OWN


def test_an_item_that_is_gone_shows() -> None:
    ids = {one.id for one in all_cases()} - {"A10", "B19", "B19b"}
    missing = not_built(ids)
    assert {"A10", "B19"} <= set(missing)
    assert missing["A10"] == "no task, thread or socket is left behind"
    assert "C35" not in missing


def test_what_is_not_built_is_told_in_each_report() -> None:
    report = run(BrokenHarness(), only={"C21"})
    told = not_built(one.id for one in all_cases())
    assert json.loads(report.json())["not_built"] == told
    for id, about in told.items():
        assert f"not built yet {id}: {about}" in report.text()
