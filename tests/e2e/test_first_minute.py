"""The script that follows README.md finds what it needs, and fails where the page is wrong."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from e2e import first_minute
from e2e.first_minute import Start, start, try_out
from support.trial import ROOT, Failed, Trial


@pytest.fixture
def page() -> Start:
    """What README.md says."""
    return start((ROOT / "README.md").read_text(encoding="utf-8"))


@pytest.fixture
def trial(tmp_path: Path) -> Trial:
    """The environment that runs the tests, in place of a new one: that takes a while."""
    trial = Trial("first minute", tmp_path)
    trial.bin = Path(sys.executable).parent
    code = [ROOT, *ROOT.glob("backends/*")]
    trial.environment["PYTHONPATH"] = ":".join(map(str, code))
    return trial


def test_the_page_begins_with_a_file_of_about_ten_lines(page: Start) -> None:
    lines = [line for line in page.jobs.splitlines() if line.strip()]
    assert 5 <= len(lines) <= 10
    assert page.worker == "xqueue worker jobs.py"


def test_what_the_page_says_is_what_happens(trial: Trial, page: Start) -> None:
    try_out(trial, page)


def test_another_result_is_a_failure(trial: Trial, page: Start) -> None:
    with pytest.raises(Failed, match=r"the page says 'b.png', it was 'a.png at 640'"):
        try_out(trial, page._replace(printed="b.png"))


def test_a_worker_that_ends_is_a_failure(trial: Trial, page: Start) -> None:
    with pytest.raises(Failed, match=r"(start a|end the) worker: "):
        try_out(trial, page._replace(worker="xqueue worker nowhere.py", submit="print('b.png')"))


def test_another_broker_is_a_failure(trial: Trial, page: Start) -> None:
    jobs = page.jobs.replace("XQueue()", "XQueue('sqlite:///other.db')")
    with pytest.raises(Failed, match=r"no xqueue\.db"):
        try_out(trial, page._replace(jobs=jobs))


def test_a_page_that_begins_otherwise_is_told() -> None:
    with pytest.raises(Failed, match="'jobs': 0"):
        start("# XQueue\n\n## Two minutes\n\nIt prints `a`.\n")


def test_more_than_a_minute_is_a_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], trial: Trial
) -> None:
    monkeypatch.setattr(Trial, "wheel", lambda self: "")
    monkeypatch.setattr(Trial, "install", lambda self, *_: None)
    monkeypatch.setattr(first_minute, "try_out", lambda *_: None)
    assert first_minute.main(60.0) == 0
    assert "a.png at 640" in capsys.readouterr().out
    assert first_minute.main(0.0) == 1
    assert "it took" in capsys.readouterr().err
