"""Scripts as they are sent, and their headers."""

from __future__ import annotations

import hashlib

import pytest

from xqueue_redis import rights, scripts
from xqueue_redis.scripts import HEADER, Scripts, header, names, source


@pytest.mark.parametrize("name", names())
def test_a_script_says_what_it_takes_and_answers(name: str) -> None:
    said = header(source(name))
    assert set(HEADER) <= set(said), f"{name}.lua says nothing of {set(HEADER) - set(said)}"


@pytest.mark.parametrize("name", names())
def test_a_script_begins_with_what_tells_its_flags(name: str) -> None:
    script = Scripts().get(name)
    flags = header(source(name)).get("flags", "")
    first = script.text.splitlines()[0]
    assert first == (f"#!lua flags={flags}" if flags else "#!lua")
    libs = [source(f"lib/{lib}") for lib in header(source(name)).get("libs", "").split()]
    head, _, main = source(name).rpartition("--@main\n")
    assert script.text == "\n".join([first, *libs, head, "return (function()", main, "end)()"])
    assert script.digest == hashlib.sha1(script.text.encode(), usedforsecurity=False).hexdigest()


def test_libs_stand_in_front_of_their_script_and_the_clock_is_replaced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    texts = {
        "lib/base": "local P = 'p'\nlocal now = clock() --@clock --@call",
        "lib/row": "local row = 1",
        "one": "-- libs: base row\n-- flags: allow-oom\nreturn now",
    }
    monkeypatch.setattr(scripts, "source", texts.__getitem__)
    base, row, own = texts["lib/base"], texts["lib/row"], texts["one"]
    whole = f"#!lua flags=allow-oom\n{base}\n{row}\n\nreturn (function()\n{own}\nend)()"
    assert Scripts().get("one").text == whole
    moved = Scripts(clock="key").get("one")
    assert "local now = tonumber(redis.call('GET', P .. 'clock')) " in moved.text
    assert "clock()" not in moved.text
    assert "\nnow = tonumber(redis.call('GET', P .. 'clock'))\n" in moved.library
    assert "clock()" not in moved.library


def test_a_lib_that_there_is_not_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scripts, "source", {"one": "-- libs: bass"}.__getitem__)
    with pytest.raises(KeyError, match="bass"):
        Scripts().get("one")


def test_what_doctor_asks_about_is_in_the_file_of_rights() -> None:
    asked = {line.split()[0] for line in rights.COMMANDS}
    plain = {name for name in rights.allowed() if "|" not in name}
    # None of these can be called by a script.
    assert plain - asked == {"auth", "select", "evalsha", "fcall"}
    assert asked <= plain


def test_the_file_of_rights_is_for_any_namespace() -> None:
    text = rights.users("shop", "s3cret")
    assert "~{shop}:*" in text
    assert ">s3cret" in text
    assert "change-me" not in text
    for password in ("", "two words", "a\nuser b on nopass +@all"):
        with pytest.raises(ValueError, match="white space"):
            rights.users("shop", password)
