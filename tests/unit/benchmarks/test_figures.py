"""The arithmetic of the benchmarks' reports."""

from __future__ import annotations

import json

import pytest

from benchmarks.figures import gathered, percentiles, rate, ratios, spread, table


def test_a_spread_is_the_median_between_least_and_most() -> None:
    figure = spread([5.0, 1.0, 3.0, 9.0, 2.0])
    assert (figure.median, figure.low, figure.high, figure.runs) == (3.0, 1.0, 9.0, 5)
    assert json.loads(json.dumps(figure.as_json())) == {
        "median": 3.0,
        "low": 1.0,
        "high": 9.0,
        "runs": 5,
    }


def test_the_median_of_an_even_number_of_runs_lies_between_the_two_in_the_middle() -> None:
    assert spread([1.0, 2.0, 4.0, 100.0]).median == 3.0


@pytest.mark.parametrize(
    ("digits", "text"), [(0, "1,234 (1,000 to 2,000)"), (1, "1,234.0 (1,000.0 to 2,000.0)")]
)
def test_a_spread_as_text(digits: int, text: str) -> None:
    assert spread([1_000.0, 1_234.0, 2_000.0]).text(digits) == text


def test_no_runs_have_no_spread() -> None:
    with pytest.raises(ValueError, match="no runs"):
        spread([])


def test_a_ratio_is_taken_to_the_mean_of_the_runs_around() -> None:
    assert ratios([5.0, 30.0], [10.0, 10.0, 50.0]) == [0.5, 1.0]


@pytest.mark.parametrize(
    ("ours", "around", "message"),
    [
        ([1.0, 1.0], [1.0, 1.0], "2 runs need 3 around them, not 2"),
        ([1.0], [1.0, 0.0], "was 0"),
    ],
)
def test_runs_that_do_not_alternate_have_no_ratio(
    ours: list[float], around: list[float], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        ratios(ours, around)


def test_a_rate_counts_what_came_after_the_first() -> None:
    assert rate(101, 5, 5 + 2_000_000_000) == 50.0


@pytest.mark.parametrize(("count", "last"), [(1, 10), (10, 0), (10, -1)])
def test_no_rate_of_too_little(count: int, last: int) -> None:
    with pytest.raises(ValueError, match="nothing to take a rate of"):
        rate(count, 0, last)


def test_percentiles_lie_within_the_values() -> None:
    cuts = percentiles([float(n) for n in range(101)])
    assert cuts == pytest.approx({"p50": 50.0, "p95": 95.0, "p99": 99.0})


def test_figures_of_runs_are_gathered_by_name() -> None:
    assert gathered([{"a": 1.0, "b": 2.0}, {"a": 3.0}]) == {"a": [1.0, 3.0], "b": [2.0]}
    assert gathered([]) == {}


def test_a_table_lines_up() -> None:
    assert table([("", "rate"), ("queue", "12"), ("x", "3,456")]).splitlines() == [
        "        rate",
        "-----  -----",
        "queue     12",
        "x      3,456",
    ]
