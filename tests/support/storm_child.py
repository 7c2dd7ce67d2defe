"""A producer that submits as fast as it can until it is killed, and notes what it knows.

``python storm_child.py URL HISTORY``. Before each call the ids are noted as unknown, after it
as accepted: whoever finds only the first line does not know.
"""

from __future__ import annotations

import asyncio
import sys
from itertools import count

from support.faulty_app import make
from support.history.events import Submitted
from support.history.writer import Writer, now

#: Tasks of one call.
BATCH = 20


async def main(url: str, history: str) -> None:
    """Submit for ever."""
    app, handlers = make(url, history)
    writer = Writer(history)
    nap = handlers["nap"]
    async with app:
        for n in count():
            calls = [nap.options(id=f"storm-{n}-{i}").call(0.0) for i in range(BATCH)]
            asked = now()
            for answer in ("unknown", "ok"):
                if answer == "ok":
                    await app.submit_many(calls)
                writer.write(
                    *(
                        Submitted(at=now(), id=one.id, answer=answer, due=asked, lane="nap")
                        for one in calls
                    )
                )


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
