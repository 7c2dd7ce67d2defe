"""How a script is run over one connection: as a function that the server keeps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from redis.exceptions import NoScriptError, ResponseError

from xqueue_redis.failures import HALFWAY, NoFunctions, error_code
from xqueue_redis.scripts import LIBRARIES, Script
from xqueue_redis.wire import Wire

#: How often a library is loaded for one call: somebody may flush them all just then.
_LOADS: Final = 3
#: How servers say that they have a library already.
_THERE: Final = "already exists"
#: A library is data. Where none may be changed, scripts that only read, or make room, go on.
_NO_CHANGE: Final = {"OOM", "READONLY", "MISCONF", "NOREPLICAS"}
#: What servers say of an error that a script met with.
_WITHIN: Final = "@user_script"


class Way:
    """How far a call has come.

    Attributes:
        sent: it is on its way, or was carried out.
    """

    __slots__ = ("sent",)

    def __init__(self) -> None:
        self.sent = False


async def run(wire: Wire, way: Way, script: Script, key: str, given: Sequence[Any]) -> Any:
    """The script's answer; it is loaded if the server has not got it. Raises RedisError."""
    command = ("FCALL", script.function, 1, key, *given)
    for _ in range(_LOADS):
        way.sent = True
        try:
            return await wire.ask(*command)
        except ResponseError as error:
            if error_code(error) != "NOSCRIPT":
                raise
        way.sent = False  # it did not run
        if not await _loaded(wire, script):
            return await _evaluated(wire, way, script, key, given)
    way.sent = True
    return await wire.ask(*command)


async def may_run(wire: Wire, key: str) -> None:
    """Raise RedisError if this user may not load or run scripts; nothing is loaded.

    NoFunctions where the server has none, as before 7.0, or whatever stands before it.
    """
    # Servers look at rights first, and then find that there is nothing to run, or to load.
    for *command, expected in (
        ("FCALL", f"{LIBRARIES}nothing", 1, key, "not found"),
        ("FUNCTION", "LOAD", "", "library"),
    ):
        try:
            await wire.ask(*command)
        except ResponseError as error:
            code = error_code(error)
            if not code and expected not in str(error):
                raise NoFunctions(f"{command[0]}: {error}") from error
            if code not in {"", "NOSCRIPT", *_NO_CHANGE}:
                raise


async def _loaded(wire: Wire, script: Script) -> bool:
    """Load a library; False if the server takes no changes."""
    try:
        await wire.ask("FUNCTION", "LOAD", script.library)
    except ResponseError as error:
        if _THERE in str(error):
            return True  # somebody else did, meanwhile
        if error_code(error) not in _NO_CHANGE:
            raise
        return False
    return True


async def _evaluated(wire: Wire, way: Way, script: Script, key: str, given: Sequence[Any]) -> Any:
    """The answer of the same text as a script without a library, of which nothing is kept."""
    command = ("EVALSHA", script.digest, 1, key, *given)
    try:
        for _ in range(_LOADS):
            way.sent = True
            try:
                return await wire.ask(*command)
            except NoScriptError:
                way.sent = False
            await wire.ask("SCRIPT", "LOAD", script.text)
        way.sent = True
        return await wire.ask(*command)
    except ResponseError as error:
        # Only a library notes whether anything was changed before it raised.
        if _WITHIN in str(error) and script.changes:
            raise ResponseError(f"{HALFWAY} {error}") from error
        raise
