"""What ``xqueue doctor`` finds out about a server before anything opens it for good."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Final

from xqueue_core.errors import Refused, XQueueError
from xqueue_core.findings import Finding, Level
from xqueue_redis.connection import Link
from xqueue_redis.rights import lacking
from xqueue_redis.safety import config, dangers, version
from xqueue_redis.scripts import LIBRARIES, names

if TYPE_CHECKING:
    from xqueue_redis.scripts import Scripts
    from xqueue_redis.settings import RedisSettings

#: A clock that differs by more is worth a note (seconds): the server's alone counts, but whoever
#: reads times should know.
CLOCK: Final = 1.0
#: Part of maxmemory from which on it is worth a note.
NEARLY_FULL: Final = 0.8
#: Connections left below which it is worth a note.
FEW: Final = 100


async def findings(
    settings: RedisSettings, scripts: Scripts, seconds: float
) -> AsyncIterator[Finding]:
    """All of it, in about so many seconds; no task and no key is written."""
    timeout = min(settings.timeout, seconds)
    link = Link(settings.address(), settings.namespace, scripts, timeout, look=False)
    try:
        async for finding in _looked(link, settings, scripts):
            yield finding
    except XQueueError as error:
        yield _said("server", error)
    finally:
        await link.close()


async def _looked(link: Link, settings: RedisSettings, scripts: Scripts) -> AsyncIterator[Finding]:
    await link.command("PING")
    found = version(link.info)
    yield found
    if found.level is Level.ERROR:
        return
    for one in dangers(link.info, await config(link), settings.durability, settings.allow):
        yield one
    yield memory(link.info)
    yield await _clock(link)
    async for one in _rights(link):
        yield one
        if one.level is Level.ERROR:
            return
    yield await _connections(link)
    yield await _libraries(link, scripts)
    yield await _groups(link)
    yield await _namespace(link)


def _said(check: str, error: XQueueError) -> Finding:
    what, _, advice = str(error).partition(". ")
    return Finding(check, Level.ERROR, what, advice)


def memory(info: Mapping[str, str]) -> Finding:
    """How much of it is used, and of how much."""
    used, most = int(info.get("used_memory", 0)), int(info.get("maxmemory", 0))
    detail = f"{used >> 20} MiB used"
    if not most:
        return Finding("memory", Level.OK, f"{detail}, without a limit")
    detail = f"{detail} of {most >> 20} MiB"
    if used > most:
        advice = "raise maxmemory, or drain: workers go on, and submits are refused"
        return Finding("memory", Level.ERROR, f"{detail}: it is full", advice)
    if used > NEARLY_FULL * most:
        return Finding("memory", Level.WARNING, detail, "raise maxmemory before it is full")
    return Finding("memory", Level.OK, detail)


async def _clock(link: Link) -> Finding:
    before = time.time()
    seconds, micros = await link.command("TIME")
    after = time.time()
    ahead = int(seconds) + int(micros) / 1e6 - (before + after) / 2
    detail = f"the server's is {ahead:+.3f} s from this machine's"
    if abs(ahead) > CLOCK + (after - before) / 2:
        advice = "set both by NTP: times of tasks are the server's"
        return Finding("server clock", Level.WARNING, detail, advice)
    return Finding("server clock", Level.OK, detail)


async def _rights(link: Link) -> AsyncIterator[Finding]:
    """Whether scripts can be loaded and run, and every command they use."""
    try:
        missing = await lacking(link)
    except XQueueError as error:
        yield _said("scripts", error)
        return
    yield Finding("scripts", Level.OK, "they can be loaded and run")
    if missing:
        advice = "give the user those in xqueue.acl, which comes with xqueue_redis"
        yield Finding("rights", Level.ERROR, f"may not: {', '.join(missing)}", advice)
    else:
        yield Finding("rights", Level.OK, "every command in use")


async def _connections(link: Link) -> Finding:
    said = (await link.command("INFO", "clients")).decode()
    fields = dict(line.split(":", 1) for line in said.splitlines() if ":" in line)
    used, most = int(fields.get("connected_clients", 0)), int(fields.get("maxclients", 0))
    detail = f"{used} of {most}"
    if most and most - used < FEW:
        advice = "raise maxclients: a worker takes up to ten, and a client one or two"
        return Finding("connections", Level.WARNING, detail, advice)
    return Finding("connections", Level.OK, detail)


async def _libraries(link: Link, scripts: Scripts) -> Finding:
    """Whether libraries of other versions lie there, which nothing removes by itself."""
    try:
        there = await link.command("FUNCTION", "LIST", "LIBRARYNAME", f"{LIBRARIES}*")
    except Refused:
        return Finding("libraries", Level.OK, "this user cannot list them")
    ours = {scripts.get(name).function for name in names()}
    # Each is a list of names and values: the first is the library's.
    found = sorted(one[one.index(b"library_name") + 1].decode() for one in there)
    old = [name for name in found if name not in ours]
    detail = f"{len(found) - len(old)} of this version"
    if not old:
        return Finding("libraries", Level.OK, detail)
    advice = "once no other version runs, remove each by: redis-cli FUNCTION DELETE <name>"
    detail = f"{detail}; of others: {', '.join(old)}"
    return Finding("libraries", Level.WARNING, detail, advice)


async def _groups(link: Link) -> Finding:
    """Whether somebody else reads our streams: tasks are not affected, but what they read stays."""
    found = sorted(name.decode(errors="replace") for name in await link.run("view/names", "groups"))
    if not found:
        return Finding("groups", Level.OK, "no consumer group of others")
    advice = f"remove each, such as: redis-cli XGROUP DESTROY {link.prefix}{found[0]}"
    return Finding("groups", Level.WARNING, f"others have some: {', '.join(found)}", advice)


async def _namespace(link: Link) -> Finding:
    meta = f"{link.prefix}meta"
    generation, layout = await link.command("HMGET", meta, "generation", "layout")
    if generation is None:
        advice = "see that server, database and namespace are right; the first submit begins it"
        return Finding("namespace", Level.WARNING, f"nothing under {meta} yet", advice)
    sizes = ", ".join([text async for text in _sizes(link)])
    return Finding("namespace", Level.OK, f"{meta}, layout {int(layout or 1)}; {sizes}")


async def _sizes(link: Link) -> AsyncIterator[str]:
    for name, command, key in (
        ("lanes", "HLEN", "lanes"),
        ("workers", "HLEN", "workers"),
        ("scheduled tasks", "ZCARD", "later"),
        ("quarantined", "ZCARD", "quarantine"),
        ("entries of events", "XLEN", "events"),
    ):
        yield f"{await link.command(command, link.prefix + key)} {name}"
