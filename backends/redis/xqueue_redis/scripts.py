"""The Lua scripts, as they are sent to the server.

A script ``lua/<name>.lua`` begins with comments, its header, which say what it takes and answers
and which parts of ``lua/lib/`` it needs, in order::

    -- libs: base row
    -- flags: allow-oom
    -- KEYS: [1] {namespace}:meta
    -- ARGV: ...
    -- RETURN: ...
"""

from __future__ import annotations

import hashlib
from importlib import resources
from typing import Final, Literal, NamedTuple

#: What every header has to say.
HEADER: Final = ("KEYS", "ARGV", "RETURN")

#: Ends the line of ``base.lua`` that asks the server for the time.
_CLOCK: Final = "--@clock"
_TEST_CLOCK: Final = "local now = tonumber(redis.call('GET', P .. 'clock'))"


class Script(NamedTuple):
    """A whole script, and the SHA-1 by which the server knows it (lower-case hex)."""

    text: str
    digest: str


class Scripts:
    """All scripts; each file is read when it is first needed.

    Args:
        clock: ``key`` takes the time (seconds) from the key ``{namespace}:clock`` in place of the
            server's clock, so that a test can move it.
    """

    def __init__(self, clock: Literal["server", "key"] = "server") -> None:
        self._clock = clock
        self._made: dict[str, Script] = {}

    def get(self, name: str) -> Script:
        """The script of this name, such as ``put`` or ``permits/acquire``."""
        script = self._made.get(name)
        if script is None:
            text = self._text(name)
            digest = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
            script = self._made[name] = Script(text, digest)
        return script

    def _text(self, name: str) -> str:
        own = source(name)
        said = header(own)
        flags = said.get("flags", "")
        parts = [f"#!lua flags={flags}" if flags else "#!lua"]
        for lib in said.get("libs", "").split():
            text = source(f"lib/{lib}")
            parts.append(_with_test_clock(text) if self._clock == "key" else text)
        return "\n".join([*parts, own])


def source(name: str) -> str:
    """The text of ``lua/<name>.lua``."""
    return resources.files("xqueue_redis").joinpath("lua", f"{name}.lua").read_text("utf-8")


def names() -> list[str]:
    """Every script there is, by name, but for the parts in ``lua/lib/``."""
    found: list[str] = []
    folders = [("", resources.files("xqueue_redis").joinpath("lua"))]
    while folders:
        prefix, folder = folders.pop()
        for entry in folder.iterdir():
            if entry.is_dir():
                folders.append((f"{prefix}{entry.name}/", entry))
            elif entry.name.endswith(".lua"):
                found.append(prefix + entry.name.removesuffix(".lua"))
    return sorted(name for name in found if not name.startswith("lib/"))


def header(text: str) -> dict[str, str]:
    """What the comments at a script's beginning say, by the word before the colon."""
    said: dict[str, str] = {}
    for line in text.splitlines():
        if not line.startswith("--"):
            break
        word, colon, rest = line.removeprefix("--").strip().partition(":")
        if colon and word.isalpha():
            said.setdefault(word, rest.strip())
    return said


def _with_test_clock(text: str) -> str:
    lines = text.splitlines()
    return "\n".join(_TEST_CLOCK if line.endswith(_CLOCK) else line for line in lines)
