"""What travels over the socket: length, then MessagePack."""

from __future__ import annotations

import asyncio
import struct
from typing import Any

import msgspec

_LENGTH = struct.Struct(">I")
encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder().decode


def frame(message: Any) -> bytes:
    """A message as it is sent."""
    body = encode(message)
    return _LENGTH.pack(len(body)) + body


async def read(reader: asyncio.StreamReader) -> Any:
    """The next message. Raises EOFError where there is none, or half of one."""
    [length] = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
    return decode(await reader.readexactly(length))
