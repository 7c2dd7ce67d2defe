"""What the client's errors become."""

from __future__ import annotations

from typing import Any

import pytest
from redis import exceptions
from redis.asyncio.connection import Connection

from xqueue_core.errors import Refused, Unavailable, Unknown, XQueueError
from xqueue_redis.connection import blocks
from xqueue_redis.failures import ScriptRefused, failure, is_reply

#: As a server begins its answer, what becomes of it, and a word of the advice.
ANSWERS: list[tuple[str, type[XQueueError], str]] = [
    ("LOADING Redis is loading the dataset in memory", Unavailable, "ends by itself"),
    ("BUSY Redis is busy running a script.", Unavailable, "SCRIPT KILL"),
    ("MASTERDOWN Link with MASTER is down", Unavailable, "replica"),
    ("CLUSTERDOWN Hash slot not served", Unavailable, "CLUSTER INFO"),
    ("TRYAGAIN Multiple keys request during rehashing of slot", Unavailable, "moving"),
    ("ERR Script attempted to access a non local key", Unavailable, "moving"),
    ("ASK 3999 127.0.0.1:6381", Refused, "name that one"),
    ("MISCONF Redis is configured to save RDB snapshots", Unavailable, "disk"),
    ("READONLY You can't write against a read only replica.", Unavailable, "primary"),
    ("OOM command not allowed when used memory > 'maxmemory'.", Unavailable, "Raise maxmemory"),
    ("NOREPLICAS Not enough good replicas to write.", Unavailable, "min-replicas-to-write"),
    ("UNBLOCKED client unblocked via CLIENT UNBLOCK", Unavailable, "ended the wait"),
    ("ERR Function not found", Unavailable, "FUNCTION FLUSH"),
    ("NOAUTH Authentication required.", Refused, "wants a password"),
    ("WRONGPASS invalid username-password pair", Refused, "is wrong"),
    ("NOPERM this user has no permissions", Refused, "xqueue.acl"),
    ("MOVED 3999 127.0.0.1:6381", Refused, "node of a cluster"),
    ("ERR DB index is out of range", Refused, "Name a database"),
    ("ERR max number of clients reached", Unavailable, "Raise maxclients"),
    ("ERR wrong number of arguments for 'get' command", Refused, "wrong number"),
    ("WRONGTYPE Operation against a key", Refused, "WRONGTYPE"),
]


def answered(text: str) -> Exception:
    """The client's exception for an error that the server answered."""
    parser: Any = Connection(protocol=2)._parser
    error: Exception = parser.parse_error(text)
    return error


@pytest.mark.parametrize(("text", "kind", "advice"), ANSWERS, ids=lambda one: str(one)[:12])
def test_answers_that_are_errors(text: str, kind: type[XQueueError], advice: str) -> None:
    error = answered(text)
    found = failure(error, "Redis at here", sent=True)
    assert type(found) is kind
    assert str(found).startswith("Redis at here: ")
    assert advice in str(found)
    assert found.__cause__ is error


@pytest.mark.parametrize("text", [text for text, *_ in ANSWERS if "max number" not in text])
def test_an_error_that_was_answered_leaves_no_answer_outstanding(text: str) -> None:
    assert is_reply(answered(text))


@pytest.mark.parametrize(
    "error",
    [exceptions.ConnectionError("gone"), exceptions.TimeoutError("late"), OSError(104, "reset")],
)
def test_without_an_answer_it_matters_whether_it_was_sent(error: Exception) -> None:
    assert type(failure(error, "here", sent=False)) is Unavailable
    assert type(failure(error, "here", sent=True)) is Unknown
    assert not is_reply(error)


def test_an_error_of_our_own_scripts_has_its_code() -> None:
    found = failure(answered("XQ LAYOUT it was written by a newer version"), "here", sent=True)
    assert isinstance(found, ScriptRefused)
    assert found.code == "LAYOUT"
    assert str(found) == "here: it was written by a newer version"


@pytest.mark.parametrize(
    ("command", "seconds"),
    [
        (("GET", "BLOCK"), 0.0),
        (("BLPOP", "a", "b", "1.500"), 1.5),
        (("XREAD", "COUNT", 1, "BLOCK", 2500, "STREAMS", "s", "0"), 2.5),
        (("BLPOP", b"a", 0), 0.0),
    ],
)
def test_how_long_a_command_may_block(command: tuple[object, ...], seconds: float) -> None:
    assert blocks(command) == seconds
