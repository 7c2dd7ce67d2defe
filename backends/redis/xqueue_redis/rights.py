"""The rights that a user needs: those in ``xqueue.acl``, and no others."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from xqueue_redis.connection import Link

#: What stands in the file in place of a password.
_PLACE = "change-me"
#: Whole commands, for each that scripts and calls use: servers look for keys where the command has
#: them, and Redis 7.0 dies of one that is asked about and too short.
COMMANDS: Final = (
    *("blpop KEY 1", "del KEY", "exists KEY", "expire KEY 1", "get KEY"),
    *("hdel KEY f", "hexists KEY f", "hget KEY f", "hgetall KEY", "hincrby KEY f 1", "hkeys KEY"),
    *("hlen KEY", "hmget KEY f", "hrandfield KEY 1", "hset KEY f v", "hsetnx KEY f v"),
    *("hvals KEY", "info server", "llen KEY", "ltrim KEY 0 1", "mget KEY", "mset KEY v"),
    *("pexpireat KEY 1", "ping", "rename KEY KEY", "rpush KEY v", "sadd KEY v", "scan 0"),
    *("set KEY v", "time", "type KEY"),
    *("xadd KEY * f v", "xdel KEY 1-1", "xgroup CREATE KEY x 0"),
    *("xinfo STREAM KEY", "xlen KEY", "xrange KEY - +", "xread STREAMS KEY 0"),
    *("xreadgroup GROUP x x STREAMS KEY >", "xtrim KEY MAXLEN 1"),
    *("zadd KEY 1 v", "zcard KEY", "zcount KEY 0 1", "zrange KEY 0 1", "zrangebylex KEY - +"),
    *("zrangebyscore KEY 0 1", "zrem KEY v", "zscore KEY v"),
)


def users(namespace: str = "xqueue", password: str = _PLACE) -> str:
    """The text of ``xqueue.acl``, a file of users for the server, for this namespace.

    Raises:
        ValueError: the password has white space in it, which such a file cannot hold.
    """
    if not password or password.split() != [password]:
        raise ValueError("a password in a file of users must be there, and have no white space")
    text = resources.files("xqueue_redis").joinpath("xqueue.acl").read_text("utf-8")
    return text.replace("{xqueue}", f"{{{namespace}}}").replace(f">{_PLACE}", f">{password}")


def allowed() -> set[str]:
    """The commands that ``xqueue.acl`` allows, as in ``hset`` and ``script|load``."""
    return {word.removeprefix("+") for word in users().split() if word.startswith("+")}


async def lacking(link: Link) -> list[str]:
    """Those in :data:`COMMANDS` that the user of this link may not run.

    Raises:
        Refused: it may not even run scripts.
        Unavailable, Unknown: the server does not answer.
    """
    return [name.decode() for name in await link.run("rights", *COMMANDS)]
