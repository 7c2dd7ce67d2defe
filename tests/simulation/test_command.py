"""The command that runs many schedules: it tells how far it is, and that changes nothing."""

from __future__ import annotations

import re

import pytest

from simulation import __main__ as command


def test_it_tells_how_far_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On standard error; what it prints in the end is the same."""
    words = ["--count", "2", "--seed", "7", "--processes", "1"]
    ends = []
    for every in (1_000.0, 0.0):
        monkeypatch.setattr(command, "TOLD_EVERY", every)
        assert command.main(words) == 0
        said = capsys.readouterr()
        ends.append(re.sub(r"in .*? a second", "", said.out))
        shape = r"([12]) of 2 schedules in \d+ s, [\d.]+ a second, about \d+ s to go; 0 with viol"
        assert re.findall(shape, said.err) == (["1", "2"] if every == 0.0 else [])
    assert ends[0] == ends[1]
