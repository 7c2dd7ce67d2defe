"""How ``app.testing()`` is used: type checkers let all of it pass."""

from __future__ import annotations

from datetime import datetime, timedelta

from xqueue_core import XQueue
from xqueue_core.testing import Ran, Submission, Submissions, call

app = XQueue()


@app.task
async def thumbnail(path: str, width: int = 320) -> str:
    return f"{path} at {width}"


def plain() -> None:
    with app.testing() as t:
        ran: Ran = t.run_all()
        hows: list[str] = [run.how for run in ran]
        assert hows == [run.how for run in t.run_one()]
        t.advance(60)
        t.advance(timedelta(hours=1), raise_errors=False)
        seen: Submissions = t.submitted(thumbnail)
        assert seen == [call("a.png")]
        assert seen == [thumbnail.call("a.png")]
        one: Submission = seen.once(path="a.png")
        seen.never(width=2)
        now: datetime = t.now
        print(one.id, now)


async def within_a_coroutine() -> None:
    async with app.testing() as t:
        ran: Ran = await t.run_all()
        assert [run.id for run in ran] == [run.id for run in await t.advance(1)]
