"""What a worker process says to its supervisor."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from xqueue_core.cli.words import Ear, Mouth, Word
from xqueue_core.worker.pacing import Busy


@pytest.fixture
def ear() -> Iterator[Ear]:
    """The supervisor's end."""
    ear = Ear()
    yield ear
    for close in (ear.close, lambda: os.close(ear.mouth)):
        try:
            close()
        except OSError:
            continue


def tell(mouth: Mouth, busy: Busy) -> None:
    """Say how busy it is."""
    assert mouth.busy is not None
    mouth.busy(busy)


def test_the_latest_word_counts(ear: Ear) -> None:
    mouth = Mouth(ear.mouth)
    assert ear.hear() is None
    tell(mouth, Busy(5, 0.5, False))
    tell(mouth, Busy(10, 1.0, True))
    assert ear.hear() == Busy(10, 1.0, True)
    assert ear.hear() is None
    assert ear.last is None


@pytest.mark.parametrize("word", [word for word in Word if word is not Word.BUSY])
def test_the_last_word_is_kept(ear: Ear, word: Word) -> None:
    mouth = Mouth(ear.mouth)
    tell(mouth, Busy(5, 0.5, False))
    mouth.last(word)
    assert ear.hear() == Busy(5, 0.5, False)
    assert ear.hear() is None
    assert ear.last is word


def test_a_supervisor_that_was_stopped_holds_up_no_worker(ear: Ear) -> None:
    """And what it reads then is old, but whole."""
    mouth = Mouth(ear.mouth)
    for n in range(20_000):
        tell(mouth, Busy(n, 0.5, False))
    said = ear.hear()
    assert said is not None
    assert 0 < said.slots < 20_000
    assert (said.share, said.saturated) == (0.5, False)


def test_a_supervisor_that_is_gone_does_no_harm(ear: Ear) -> None:
    ear.close()
    Mouth(ear.mouth).last(Word.EMPTY)


def test_without_a_supervisor_nothing_is_said() -> None:
    mouth = Mouth()
    assert mouth.busy is None
    mouth.last(Word.EMPTY)


def test_handlers_processes_do_not_inherit_the_pipe(ear: Ear) -> None:
    os.set_inheritable(ear.mouth, True)
    Mouth(ear.mouth)
    assert not os.get_inheritable(ear.mouth)
