"""The Lua scripts, as they are sent to the server.

A script ``lua/<name>.lua`` begins with comments, its header, which say what it takes and answers
and which parts of ``lua/lib/`` it needs, in order::

    -- libs: base row
    -- flags: allow-oom
    -- KEYS: [1] {namespace}:meta
    -- ARGV: ...
    -- RETURN: ...

It is sent as a library of one function, which the server keeps. So what stands outside of functions
happens once, when the library is loaded, but for

- what stands below the line ``--@main`` of a script: that is what a call does;
- lines that end with ``--@call``: each call begins with them, in order. Whatever belongs to one
  call is declared so, for a call must find nothing of the one before it, not even of one that
  raised half way. When a call ends, all of it is let go.

A call that raises once ``base.lua`` has noted a change answers ``XQ HALFWAY`` and the error: what
it wrote stays. An error without that says that nothing was changed.

The same text without these marks is a script for ``EVALSHA``, where the server takes no library;
what a call does stands in a function there, too, for Lua allows one function 200 variables.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from importlib import resources
from typing import Final, Literal, NamedTuple

#: What every header has to say.
HEADER: Final = ("KEYS", "ARGV", "RETURN")
#: How the names of all libraries begin.
LIBRARIES: Final = "xqueue_"

#: Ends a line that each call begins with: it declares local variables, and sets them.
CALL: Final = "--@call"
#: Stands in front of what a call does; a script without it is all of that.
MAIN: Final = "--@main"
#: Ends the line of ``base.lua`` that asks the server for the time, before :data:`CALL`.
_CLOCK: Final = "--@clock"
_TEST_CLOCK: Final = f"local now = tonumber(redis.call('GET', P .. 'clock')) {_CLOCK} {CALL}"
_SET: Final = re.compile(rf"local ([\w, ]+?) = (.*?)\s*(?:{_CLOCK} )?{CALL}")


class Script(NamedTuple):
    """A whole script.

    Attributes:
        text: for ``EVAL``.
        digest: SHA-1 of that, by which the server knows it (lower-case hex).
        function: the name of the library, and of its only function; it tells the digest, too.
        library: for ``FUNCTION LOAD``.
    """

    text: str
    digest: str
    function: str
    library: str

    @property
    def changes(self) -> bool:
        """False if it only reads, as the server itself sees to."""
        return "no-writes" not in self.text.partition("\n")[0]


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
            own = source(name)
            said = header(own)
            parts = [source(f"lib/{lib}") for lib in said.get("libs", "").split()]
            if self._clock == "key":
                parts = [_with_test_clock(text) for text in parts]
            script = self._made[name] = assembled(name, [*parts, own], said.get("flags", ""))
        return script


def assembled(name: str, parts: Sequence[str], flags: str = "") -> Script:
    """The script of these texts: its libs, and itself at the end.

    Args:
        name: the script's.
        parts: the texts.
        flags: for the server, with commas between them.
    """
    head, _, main = parts[-1].rpartition(f"{MAIN}\n")
    first = f"#!lua flags={flags}" if flags else "#!lua"
    text = "\n".join([first, *parts[:-1], head, "return (function()", main, "end)()"])
    digest = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
    body = _body(parts, flags)
    # Of the body, so that not only another text, but also another way to wrap it, has a new name.
    version = hashlib.sha1(body.encode(), usedforsecurity=False).hexdigest()[:8]
    function = f"{LIBRARIES}{name.replace('/', '_')}_{version}"
    library = f"#!lua name={function}\n{body.replace(_NAME, function)}"
    return Script(text, digest, function, library)


#: Stands for the function's name.
_NAME: Final = "@name@"
#: What a function does; the rest of its library is what stands outside of functions in the script.
#: All that belongs to a call is let go at its end: a batch may be large, and the library stays.
_CALLBACK: Final = """\
function run.work() run.begin() return run.main() end
redis.register_function{{function_name='{name}', flags={{{flags}}},
callback=function(keys, argv)
KEYS, ARGV = keys, argv
local ok, answer = pcall(run.work)
local half = {wrote}
KEYS, ARGV = nil, nil
run.leave()
if ok then return answer end
local said = tostring(answer)
if type(answer) == 'table' then
  said = tostring(answer.err) .. (answer.line and ' (line ' .. answer.line .. ')' or '')
end
if half then return {{err='XQ HALFWAY ' .. said}} end
local coded = type(answer) == 'table' or string.find(said, '^ERR ')
return {{err=coded and said or 'ERR ' .. said}} end}}"""


def _body(parts: Sequence[str], flags: str) -> str:
    """The library, but for its first line and its name."""
    head, _, main = parts[-1].rpartition(f"{MAIN}\n")
    begin: list[tuple[str, str]] = []
    above = [_once(text, begin) for text in [*parts[:-1], head]]
    named = ", ".join(f"'{flag}'" for flag in flags.split(",") if flag)
    wrote = "wrote" if any(name == "wrote" for name, _ in begin) else "false"
    return "\n".join(
        [
            "local KEYS, ARGV",
            *above,
            "local run = {}",  # one variable for all: Lua allows 200 beside each other
            "function run.main()",
            main,
            "end",
            "function run.begin()",
            *(f"{name} = {value}" for name, value in begin),
            "end",
            "function run.leave()",
            *(f"{name} = nil" for name, _ in begin),
            "end",
            _CALLBACK.format(name=_NAME, flags=named, wrote=wrote),
        ]
    )


def _once(text: str, begin: list[tuple[str, str]]) -> str:
    """The text without what each call begins with, which goes to ``begin``."""
    lines = []
    for line in text.splitlines():
        found = _SET.fullmatch(line)
        if found is not None:
            begin.append((found[1], found[2]))
            line = f"local {found[1]}"
        lines.append(line)
    return "\n".join(lines)


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
    return "\n".join(_TEST_CLOCK if f" {_CLOCK}" in line else line for line in lines)
