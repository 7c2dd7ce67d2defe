"""The keywords of ``XQueue(...)``: an unknown one is told at once, with the line to write."""

from __future__ import annotations

from typing import Any

import pytest

from support.settings_files import Files
from xqueue_core import UnknownSetting, XQueue, foreign_options
from xqueue_core.keywords import SETTINGS
from xqueue_core.settings.model import FIELDS


def test_they_are_the_settings() -> None:
    assert SETTINGS == FIELDS
    assert not SETTINGS & {*foreign_options.SETTINGS, *foreign_options._SENTENCES}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            {"broker": "redis://me:hush@h"},
            "'broker', which is Celery's: write `XQueue(\"sqlite:///jobs",
        ),
        (
            {"broker_url": "redis://"},
            "its first argument is the broker's URL, and an app has no name",
        ),
        ({"backend": "rpc://"}, "leave it out, the broker keeps the results"),
        ({"result_backend": "rpc://"}, "leave it out, the broker keeps the results"),
        ({"include": ["a.tasks"]}, "`app.include(tasks)`"),
        ({"task_always_eager": True}, 'write `XQueue("inline://")`'),
        ({"worker_concurrency": 4}, "write `XQueue(concurrency=4)`"),
        ({"task_serializer": "pickle"}, "arguments travel as JSON"),
        (
            {"concurency": 4},
            "unknown setting 'concurency' (keyword argument); did you mean 'concurr",
        ),
        ({"middlewares": []}, "did you mean 'middleware'?"),
        ({"sqlite": "x.db"}, "of a plugin it would be sqlite={...}"),
    ],
)
def test_an_unknown_keyword(given: dict[str, Any], words: str) -> None:
    with pytest.raises(UnknownSetting) as caught:
        XQueue("thumbs", **given)
    assert words in str(caught.value)
    assert "hush" not in str(caught.value)


def test_what_is_known_or_may_be_a_section_passes() -> None:
    XQueue("memory://", concurrency=5, lease=None, nothing=None, somebodys={"a": 1})


def test_a_file_is_told_the_same(tmp_path: Any) -> None:
    files = Files(tmp_path)
    with pytest.raises(UnknownSetting, match=r"'broker' \(.*xqueue.toml\), which is Celery's"):
        files.load(toml='broker = "redis://"')
    with pytest.raises(UnknownSetting, match=r"'beat_schedule'.*write `@app.every\(60\)` above"):
        files.load(toml="[beat_schedule]\na = 1")
