"""Wrong calls, one on each marked line: both type checkers refuse exactly these.

Nothing here runs; ``test_typing.py`` has it checked.
"""

from __future__ import annotations

from xqueue_core import Context, XQueue

app = XQueue("memory://")


@app.task
async def thumbnail(ctx: Context, path: str, width: int = 320) -> str:
    return f"{path} {width} {ctx.attempt}"


@app.task(max_retry=5)
def count(text: str, *, deep: bool = False) -> int:
    return len(text) + deep


app.task(isolation="thread")  # wrong: no kind of isolation
app.every("60")  # wrong: a text for seconds
app.every(60, missed="some")  # wrong: none of the ways
app.cron("0 9 * * *", unique_key="a")  # wrong: not an option of a schedule


@app.every(60)
async def often(path: str = "a.png") -> str:
    return path


async def main(ctx: Context) -> None:
    await often.submit(5)  # wrong: a number for a text, to a recurring handler
    await thumbnail.submit(640)  # wrong: a number for a text
    await thumbnail.submit("a.png", height=5)  # wrong: no such argument
    await thumbnail.submit(ctx, "a.png")  # wrong: the context is not submitted
    await thumbnail.submit()  # wrong: an argument is missing
    await count.options(priority="high").submit("a")  # wrong: a text for a number
    await count.submit("a", True)  # wrong: only by keyword
    number: int = await (await thumbnail.submit("a.png")).result()  # wrong: the result is a text
    await app.submit_many([count.call(5)])  # wrong: a number for a text, in a batch
    print(number)


def in_plain_code(ctx: Context) -> None:
    thumbnail.sync.submit(640)  # wrong: a number for a text
    thumbnail.sync.submit(ctx, "a.png")  # wrong: the context is not submitted
    thumbnail.sync.options(priority="high")  # wrong: a text for a number
    number: int = thumbnail.sync.submit("a.png").result()  # wrong: the result is a text
    app.sync.handle("thumbnail:1").result(timeout="1")  # wrong: a text for seconds
    app.sync.submit_many([thumbnail.sync.submit("a.png")])  # wrong: a handle for a call
    app.sync.submit_many(thumbnail.call("a.png"))  # wrong: one call for many
    app.sync.as_completed([app.handle("thumbnail:1")])  # wrong: a handle of async code
    print(number)


app.include(app)  # wrong: an app for tasks
