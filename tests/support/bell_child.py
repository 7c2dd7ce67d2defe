"""A process that answers a bell: ``python bell_child.py FILE KERNEL``. It ends with its input."""

from __future__ import annotations

import asyncio
import sys

from xqueue_sqlite.bell import SharedBell


async def main(path: str, kernel: bool) -> None:
    """Ring "pong" for each "ping" heard."""
    bell = SharedBell(path, kernel=kernel)
    ended = asyncio.ensure_future(asyncio.to_thread(sys.stdin.read))
    async with bell.listen(["ping"]) as wait:
        print("listening", flush=True)
        while not ended.done():
            heard = asyncio.ensure_future(wait(60.0))
            await asyncio.wait([heard, ended], return_when=asyncio.FIRST_COMPLETED)
            heard.cancel()
            await bell.ring(["pong"])
    await bell.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2] == "kernel"))
