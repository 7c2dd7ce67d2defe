"""Ids: ``<type>:<token>``, and the UUIDv7 that most tokens are."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from xqueue_core.errors import InvalidTask, XQueueError

_TYPE = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_TOKEN = re.compile(r"[A-Za-z0-9_.-]{1,128}")

#: Bits of the counter that orders the UUIDs made within one millisecond.
_COUNTER_BITS = 12
_RANDOM_BITS = 62
#: Random bytes of one UUID, and for how many they are asked for: each time is a call of the kernel.
_NOISE, _AT_ONCE = 10, 32
_COUNTER = (1 << _COUNTER_BITS) - 1
_LOWER_HALF = _COUNTER >> 1
_RANDOM = (1 << _RANDOM_BITS) - 1
_VARIANT = 2 << _RANDOM_BITS


class Uuid7:
    """Makes UUIDs of version 7 (RFC 9562): each greater than the one before, from any thread.

    Args:
        clock: nanoseconds since the epoch.
        random: gives this many random bytes. A forked process must not repeat its parent's.
    """

    def __init__(
        self,
        clock: Callable[[], int] = time.time_ns,
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._clock = clock
        self._random = random
        self._last = 0  # milliseconds and counter, as one number
        self._left = b""  # random bytes that no UUID has had
        self._lock = threading.Lock()
        self._pid = os.getpid()

    def __call__(self) -> str:
        """The next one, in its usual form of 36 characters."""
        now = self._clock() // 1_000_000 << _COUNTER_BITS
        if self._pid != os.getpid():
            # What is left of the random bytes is the parent's, and another thread may have held
            # the lock when this process was forked off. The process id last: others look at it.
            self._left, self._lock, self._pid = b"", threading.Lock(), os.getpid()
        with self._lock:
            left = self._left or self._random(_AT_ONCE * _NOISE)
            noise, self._left = int.from_bytes(left[:_NOISE], "big"), left[_NOISE:]
            # The counter starts in its lower half, so that it seldom runs over into the next ms.
            start = now | (noise >> _RANDOM_BITS & _LOWER_HALF)
            last = self._last
            self._last = stamp = start if start > last else last + 1
        # One number, written once, is a third faster than its five parts written one by one.
        high = stamp >> _COUNTER_BITS << 16 | 0x7000 | stamp & _COUNTER
        whole = f"{high << 64 | _VARIANT | noise & _RANDOM:032x}"
        return f"{whole[:8]}-{whole[8:12]}-{whole[12:16]}-{whole[16:20]}-{whole[20:]}"


class Id(NamedTuple):
    """A task's id, and what it was made from."""

    id: str
    unique_key: str | None  # the hash in the token
    given: bool  # by the caller, be it as id or as unique key: to be remembered longer


def make_id(type_: str, token: str | None, unique_key: str | None, uuid: Callable[[], str]) -> Id:
    """The id of a new task.

    Args:
        type_: the task's type.
        token: what the caller wants as token, or as the whole id.
        unique_key: the caller's unique key.
        uuid: makes UUIDs.

    Raises:
        InvalidTask: both are given, or the token has not the right form.
    """
    if token is not None and unique_key is not None:
        raise InvalidTask(f"a task takes `id` or `unique_key`, not both: {token!r}, {unique_key!r}")
    if token is not None:
        return Id(f"{type_}:{check_token(type_, token)}", None, True)
    if unique_key is not None:
        hashed = unique_hash(type_, unique_key)
        return Id(f"{type_}:k{hashed}~{uuid()}", hashed, True)
    return Id(f"{type_}:{uuid()}", None, False)


def unique_hash(type_: str, key: str) -> str:
    """The hash of a unique key, 26 characters: base32 of BLAKE2b-128 over type, NUL, key."""
    digest = hashlib.blake2b(f"{type_}\0{key}".encode(errors="surrogatepass"), digest_size=16)
    return base64.b32encode(digest.digest()).decode().rstrip("=")


def check_type(name: object, error: type[XQueueError] = InvalidTask, what: str = "type") -> str:
    """The name of a type, or of what else is named so, if it is one; else raises ``error``."""
    if isinstance(name, str) and _TYPE.fullmatch(name):
        return name
    raise error(f"a {what}'s name is 1 to 64 of A-Z, a-z, 0-9, `_`, `.` and `-`, not {name!r}")


def check_token(type_: str, token: str) -> str:
    """The token of an id given by a caller: a bare token, or a whole id of this type."""
    prefix, colon, rest = token.partition(":")
    if colon and prefix != type_:
        raise InvalidTask(f"the id {token!r} is not one of type {type_!r}")
    bare = rest if colon else token
    if _TOKEN.fullmatch(bare):
        return bare
    raise InvalidTask(f"a token is 1 to 128 of A-Z, a-z, 0-9, `_`, `.` and `-`, not {bare!r}")


def split_id(id: str) -> tuple[str, str]:
    """Type and token of an id, generated ones included. Raises InvalidTask if it is none."""
    type_, _, token = id.partition(":")
    if _TYPE.fullmatch(type_) and _TOKEN.fullmatch(token.replace("~", "-", 1)):
        return type_, token
    raise InvalidTask(f"{id!r} is not an id: an id is `<type>:<token>`")
