"""What about a server can lose tasks; looked at when it is opened, and by ``xqueue doctor``."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Final

from xqueue_core.errors import Refused
from xqueue_core.findings import Finding, Level

if TYPE_CHECKING:
    from xqueue_redis.connection import Link

#: The oldest version that has every command in use.
OLDEST: Final = (7, 0)
#: What CONFIG GET is asked for, if this user may ask.
_ASKED: Final = ("save", "appendfsync")

Config = Mapping[str, str]


async def config(link: Link) -> Config | None:
    """What of its configuration matters here; None if it does not tell this user."""
    try:
        answer = await link.command("CONFIG", "GET", *_ASKED)
    except Refused:
        return None
    words = [one.decode() for one in answer]
    return dict(zip(words[::2], words[1::2], strict=True))


def version(info: Mapping[str, str]) -> Finding:
    """Whether it is new enough."""
    number = info.get("redis_version", "")
    name = f"Valkey {info['valkey_version']}" if "valkey_version" in info else f"Redis {number}"
    parts = number.split(".")
    if len(parts) < 2 or not all(part.isdecimal() for part in parts[:2]):
        return Finding("server", Level.WARNING, f"its version {number!r} cannot be read")
    if (int(parts[0]), int(parts[1])) < OLDEST:
        return Finding("server", Level.ERROR, f"{name} is older than 7.0", "upgrade the server")
    return Finding("server", Level.OK, name)


def dangers(
    info: Mapping[str, str], config: Config | None, durability: str, allow: Collection[str]
) -> Iterator[Finding]:
    """One finding for each danger that can be allowed; its check is the name to allow it by."""
    for one in (_replica(info), _eviction(info), _persistence(info, config, durability)):
        yield _allowed(one, allow)
    yield _allowed(_fsync(info, config, durability), allow)


def _allowed(found: Finding, allow: Collection[str]) -> Finding:
    if found.level is not Level.ERROR:
        return found
    if found.check in allow:
        return Finding(found.check, Level.WARNING, f"{found.detail}; allowed", found.advice)
    advice = f"{found.advice}; or start in spite of it by ?allow={found.check}"
    return found._replace(advice=advice)


def _replica(info: Mapping[str, str]) -> Finding:
    if info.get("role") != "slave":
        return Finding("replica", Level.OK, "no: it is a primary")
    primary = f"{info.get('master_host', '?')}:{info.get('master_port', '?')}"
    return Finding(
        "replica",
        Level.ERROR,
        f"it is a replica of {primary}, and takes no changes",
        "name the primary, or the sentinels: redis+sentinel://host:26379/name-of-primary",
    )


def _eviction(info: Mapping[str, str]) -> Finding:
    policy = info.get("maxmemory_policy", "noeviction")
    if policy == "noeviction":
        return Finding("eviction", Level.OK, policy)
    if info.get("maxmemory", "0") == "0":
        return Finding("eviction", Level.OK, f"{policy}, which does nothing: there is no maxmemory")
    return Finding(
        "eviction",
        Level.ERROR,
        f"maxmemory-policy is {policy}: a full server throws tasks away",
        "set maxmemory-policy noeviction, in the server's file too",
    )


def _persistence(info: Mapping[str, str], config: Config | None, durability: str) -> Finding:
    if info.get("aof_enabled") == "1":
        return Finding("persistence", Level.OK, "append-only file")
    advice = "set appendonly yes, in the server's file too"
    if config is None or "save" not in config:
        detail = "no append-only file; whether there are snapshots this user cannot see"
        level = Level.ERROR if durability == "power" else Level.WARNING
        return Finding("persistence", level, detail, advice)
    if not config["save"]:
        detail = "neither an append-only file nor snapshots: the end of the server loses all tasks"
        return Finding("persistence", Level.ERROR, detail, advice)
    detail = f"snapshots alone (save {config['save']}): a crash loses what came since the last one"
    level = Level.ERROR if durability == "power" else Level.WARNING
    return Finding("persistence", level, detail, advice)


def _fsync(info: Mapping[str, str], config: Config | None, durability: str) -> Finding:
    policy = (config or {}).get("appendfsync")
    if durability != "power" and info.get("aof_enabled") == "1" and policy not in (None, "always"):
        detail = (
            f"appendfsync {policy}, enough for durability {durability!r} unless the server is "
            "killed while its disk is slow: that may take the last two seconds"
        )
        return Finding("fsync", Level.OK, detail)
    if durability != "power" or info.get("aof_enabled") != "1":
        return Finding("fsync", Level.OK, f"nothing to see to with durability {durability!r}")
    advice = "set appendfsync always, or durability to 'process'"
    if policy is None:
        return Finding("fsync", Level.WARNING, "this user cannot see appendfsync", advice)
    if policy == "always":
        return Finding("fsync", Level.OK, "always")
    lost = "the last second" if policy == "everysec" else "the last half minute"
    detail = f"durability is 'power', appendfsync {policy}: a power cut takes {lost}"
    return Finding("fsync", Level.ERROR, detail, advice)
