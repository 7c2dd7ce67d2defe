"""The plot of the benchmarks."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from benchmarks.figures import Spread, spread
from benchmarks.plot import LEFT, RIGHT, WIDTH, bars

SVG = "{http://www.w3.org/2000/svg}"


def drawn(figures: dict[str, Spread]) -> ElementTree.Element:
    return ElementTree.fromstring(bars("A <title> & more", "tasks per second", figures))


def test_bars_are_as_long_as_their_medians() -> None:
    picture = drawn({"one": spread([50.0]), "two": spread([90.0, 100.0, 200.0])})
    _, first, second = picture.findall(f"{SVG}rect")  # the first is the paper
    full = WIDTH - LEFT - RIGHT  # the width of the most, 200
    assert float(first.attrib["width"]) == pytest.approx(full / 4, abs=0.1)
    assert float(second.attrib["width"]) == pytest.approx(full / 2, abs=0.1)


def test_a_line_lies_over_the_spread() -> None:
    (line,) = drawn({"one": spread([50.0, 75.0, 100.0])}).findall(f"{SVG}path")
    full = WIDTH - LEFT - RIGHT
    start, end = line.attrib["d"].removeprefix("M").split("H")
    assert float(start.split()[0]) == pytest.approx(LEFT + full / 2, abs=0.1)
    assert float(end) == pytest.approx(LEFT + full, abs=0.1)


def test_names_and_figures_are_written() -> None:
    picture = drawn({"a & b": spread([1_234.0]), "small": spread([0.25])})
    texts = [text.text for text in picture.findall(f"{SVG}text")]
    assert texts[0] == "A <title> & more"
    assert texts[2:] == ["a & b", "1,234", "small", "0.25"]


def test_nothing_but_zeros_can_be_drawn() -> None:
    _, bar = drawn({"none": spread([0.0])}).findall(f"{SVG}rect")
    assert float(bar.attrib["width"]) == 0.0


def test_no_figures_cannot_be_drawn() -> None:
    with pytest.raises(ValueError, match="nothing to draw"):
        bars("title", "unit", {})
