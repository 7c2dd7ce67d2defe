"""The kit's own rules: ids, docstrings, choice, deadlines, honest reports."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import anyio
import pytest

from unit.conformance.broken import BrokenHarness
from xqueue_core.calls import ALL_ABILITIES, Ability
from xqueue_core.conformance import LEFT_OUT, Bench, Case, all_cases, case, choose, collect, run
from xqueue_core.conformance.__main__ import main


def module(*cases: Case) -> ModuleType:
    """A module that holds these cases."""
    made = ModuleType(cases[0].story.__module__)
    for n, one in enumerate(cases):
        setattr(made, f"case{n}", one)
    return made


@case("C21")
async def passes(bench: Bench) -> None:
    """Nothing is asked."""


@case("C22", deadline=0.2)
async def hangs(bench: Bench) -> None:
    """Something that never comes."""
    await anyio.sleep_forever()


@case("C23")
async def raises(bench: Bench) -> None:
    """Something goes wrong beside the case."""
    bench.start(bench.fail_for_good, None)
    await anyio.sleep_forever()


def test_ids_are_unique() -> None:
    with pytest.raises(ValueError, match=r"case C21 is given twice"):
        collect([module(passes, passes), module(passes)])


def test_an_id_has_a_form() -> None:
    with pytest.raises(ValueError, match="is no case id"):
        case("X1")


def test_an_unknown_trait_is_an_error() -> None:
    with pytest.raises(ValueError, match="unknown traits"):
        case("C21", traits={"colour"})


def test_a_docstring_is_needed() -> None:
    async def silent(bench: Bench) -> None:
        pass

    with pytest.raises(ValueError, match="needs a docstring"):
        case("C21")(silent)


def test_a_case_left_out_is_not_in_the_list() -> None:
    assert not set(LEFT_OUT) & {one.id for one in all_cases()}


def test_a_case_that_hangs_fails_by_its_deadline() -> None:
    report = run(BrokenHarness(), cases=[hangs])
    assert [one.id for one in report.failed] == ["C22"]
    assert report.failed[0].seconds < 10
    assert "did not end within 0.2 s" in report.failed[0].message


def test_an_error_beside_a_case_fails_it() -> None:
    report = run(BrokenHarness(), cases=[raises])
    assert "AttributeError" in report.failed[0].message


def test_what_is_not_claimed_is_listed_with_its_reason() -> None:
    harness = BrokenHarness(abilities=ALL_ABILITIES - {Ability.DELAY, Ability.EVENTS})
    chosen, not_chosen = choose(harness)
    assert not_chosen["F64"] == "the backend does not claim DELAY"
    assert not_chosen["H82"] == "the harness cannot set dedupe_horizon"
    assert not_chosen["F65"].startswith("the backend does not claim DELAY")
    assert {one.id for one in chosen} | set(not_chosen) == {one.id for one in all_cases()}


def test_a_part_of_the_list_is_no_pass() -> None:
    report = run(BrokenHarness(), only={"C21"})
    assert report.failed == []
    assert not report.ok
    assert "C22" in report.missing
    with pytest.raises(ValueError, match="no such cases: C99"):
        run(BrokenHarness(), only={"C99"})


def test_a_report_is_json_and_text() -> None:
    report = run(BrokenHarness(), cases=[passes, hangs])
    data = json.loads(report.json())
    assert [(one["id"], one["passed"]) for one in data["results"]] == [
        ("C21", True),
        ("C22", False),
    ]
    assert (data["ok"], data["missing"]) == (False, [])
    assert "FAILED C22: Something that never comes." in report.text()
    assert "left out C35" in report.text()


def test_the_module_lists_and_ends_with_a_badge(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--list"]) == 0
    listed = dict(line.split("\t") for line in capsys.readouterr().out.splitlines())
    assert list(listed) == [one.id for one in all_cases()]
    assert {"A1", "G73", "K114", "L120"} <= set(listed)
    badge, report = tmp_path / "badge.json", tmp_path / "report.json"
    files = ["--badge", str(badge), "--json", str(report)]
    assert main(["memory://", "--only", "C21", "--quiet", *files]) == 1  # a part is no pass
    *_, summary, last = capsys.readouterr().out.splitlines()
    written = json.loads(report.read_text())
    passed = f"1 of {len(written['missing']) + 1} passed"
    assert last.startswith(f"![xqueue conformance: memory {passed}](https://img.shields.io/")
    assert "1 of" in summary
    shown = json.loads(badge.read_text())
    assert shown == written["badge"]
    assert (shown["message"], shown["color"]) == (f"memory {passed}", "yellow")


def test_the_runner_needs_no_pytest() -> None:
    code = "import sys, xqueue_core.conformance; sys.exit('pytest' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
