"""How the command line logs."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator

import pytest

from support.cli import Place, refused
from xqueue_core.cli.logs import configure_logging


@pytest.fixture(autouse=True)
def _root() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def said(capsys: pytest.CaptureFixture[str]) -> str:
    try:
        raise KeyError("k")
    except KeyError:
        logging.getLogger("xqueue.worker").warning("%s\nfailed", "it", exc_info=True)
    logging.getLogger("xqueue.worker").info("too little")
    return capsys.readouterr().err


def test_lines_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("warning", as_json=True)
    [line] = said(capsys).splitlines()
    found = json.loads(line)
    assert sorted(found) == ["at", "level", "logger", "message", "process", "traceback"]
    assert found["at"].endswith("Z")
    assert (found["level"], found["logger"]) == ("warning", "xqueue.worker")
    assert found["message"] == "it\nfailed"
    assert found["traceback"].endswith("KeyError: 'k'")


def test_text(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("warning", as_json=False)
    assert "WARNING xqueue.worker: it" in said(capsys)


def test_text_of_handlers_forges_no_line_and_no_colour(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("warning", as_json=False)
    evil = "\x1b[2Jgone\x07\r\n2026-01-01 00:00:00,000 1 ERROR   xqueue.worker: forged"
    try:
        raise ValueError(evil)
    except ValueError as error:
        logging.getLogger("xqueue.worker").warning("failed: %s", error, exc_info=True)
    text = capsys.readouterr().err
    assert "forged" in text
    assert not set(text) & {"\x1b", "\x07", "\r"}
    first, *others = text.splitlines()
    assert "failed: \\x1b[2Jgone" in first
    assert all(line.startswith("  ") for line in others)


def test_a_child_does_as_the_command_line_says(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["xqueue", "worker", "jobs.py", "--json"])
    configure_logging("warning")
    assert json.loads(said(capsys))["message"] == "it\nfailed"


def test_an_app_that_is_given_twice(place: Place) -> None:
    refused("worker", "jobs.py", "--app", "jobs.py", code=2, says="the app is given twice")
