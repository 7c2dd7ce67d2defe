"""Right uses of the public interface: both type checkers accept every line.

Nothing here runs; ``test_typing.py`` has it checked.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Any, assert_type

from xqueue_core import (
    Context,
    Handle,
    Reject,
    Retry,
    RetryPolicy,
    State,
    SyncHandle,
    Tasks,
    XQueue,
    as_completed,
)
from xqueue_core.calls import Ability, Did

app = XQueue("memory://", accept_without={"PRIORITY"}, namespace="mine")
XQueue(accept_without=["VIEW", Ability.EVENTS])
XQueue(accept_without="LIMITS")


@app.task
async def thumbnail(ctx: Context, path: str, width: int = 320) -> str:
    """An async handler with a context."""
    if width > 4000:
        raise Reject("too wide")
    if ctx.attempt > 1:
        raise Retry(delay=5, reason="busy")
    return path


@app.task(isolation="process", max_memory=256, process_timeout=10)
def isolated(path: str) -> int:
    """A handler in a process of its own."""
    return len(path)


@app.task(max_retry=5, process_timeout=datetime.timedelta(minutes=1), lane="slow")
def count(texts: Sequence[str], *, deep: bool = False) -> dict[str, int]:
    """A plain handler with options and a keyword-only argument."""
    return dict.fromkeys(texts, int(deep))


@app.task(
    name="user.clean",
    max_concurrency=10,
    key="user_{user}",
    key_concurrency=3,
    retry=RetryPolicy(base=2, no_retry=(ValueError,)),
)
async def clean(user: int) -> None:
    """An async handler without a context."""


@app.task()
def plain(ctx: Context) -> int:
    """A plain handler with a context and no arguments."""
    return ctx.attempt


@app.every(60, args=("a.png",), kwargs={"width": 640}, missed="skip", overlap="allow")
@app.cron("0 9 * * MON-FRI", tz="Europe/Berlin", name="daily", priority=9)
@app.task(max_retry=1)
async def often(ctx: Context, path: str, width: int = 320) -> str:
    """Recurring, and a handler like any other."""
    return path


@app.every(datetime.timedelta(minutes=5), offset=1.5)
def swept() -> int:
    """A plain function that is declared as a task."""
    return 0


@app.cron("0 0 L * *")
async def monthly(ctx: Context) -> float:
    """The same with a context."""
    return ctx.accepted_at


async def recur(ctx: Context) -> None:
    assert_type(await often.submit("a.png", width=1), Handle[str])
    assert_type(await often(ctx, "a.png"), str)
    assert_type(await swept.submit(), Handle[int])
    assert_type(swept(), int)
    assert_type(await monthly.submit(), Handle[float])
    assert_type(await monthly(ctx), float)


async def submit(ctx: Context) -> None:
    handle = await thumbnail.submit("a.png", width=640)
    assert_type(handle, Handle[str])
    assert_type(await handle.result(timeout=30), str)
    assert_type(await handle.state(), State)
    assert_type(await handle.cancel("no more"), Did)
    assert_type(await (await count.submit(["a"], deep=True)).result(), dict[str, int])
    assert_type(await (await clean.submit(user=7)).result(), None)
    assert_type(await plain.submit(), Handle[int])

    later = thumbnail.options(delay=60, priority=9, headers={"trace": "1"})
    assert_type(await later.submit("b.png"), Handle[str])
    when = datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC)
    assert_type(await clean.options(run_at=when, unique_key="c").submit(1), Handle[None])

    assert_type(await thumbnail(ctx, "a.png"), str)
    assert_type(count(["a"]), dict[str, int])


async def submit_many(paths: Sequence[str]) -> None:
    handles = await app.submit_many(thumbnail.call(path) for path in paths)
    assert_type(handles, list[Handle[str]])
    async for handle in as_completed(handles, timeout=60):
        assert_type(await handle.result(), str)


async def by_name() -> None:
    assert_type(await app.submit("thumbnail", path="a.png"), Handle[Any])
    assert_type(app.handle("thumbnail:1"), Handle[Any])
    # What is typed more closely may stand for what is typed more widely.
    wide: Handle[object] = await thumbnail.submit("a.png")
    async for notice in wide.events():
        assert_type(notice.cursor, str)


def in_plain_code(paths: Sequence[str]) -> None:
    """The same without a loop."""
    handle = thumbnail.sync.submit("a.png", width=640)
    assert_type(handle, SyncHandle[str])
    assert_type(handle.result(timeout=30), str)
    assert_type(handle.state(), State)
    assert_type(handle.cancel("no more"), Did)
    assert_type(count.sync.submit(["a"], deep=True).result(), dict[str, int])
    assert_type(clean.sync.options(delay=60, priority=9).submit(user=7).result(), None)
    assert_type(thumbnail.options(id="a").sync.submit("a.png"), SyncHandle[str])
    assert_type(app.sync.submit("thumbnail", path="a.png"), SyncHandle[Any])
    assert_type(app.sync.handle("thumbnail:1"), SyncHandle[Any])
    handles = app.sync.submit_many(thumbnail.call(path) for path in paths)
    assert_type(handles, list[SyncHandle[str]])
    for done in app.sync.as_completed(handles, timeout=60):
        assert_type(done.result(), str)
    wide: SyncHandle[object] = handle
    for notice in wide.events(after=None):
        assert_type(notice.cursor, str)
    with app.sync as opened:
        assert_type(opened.handle("thumbnail:1"), SyncHandle[Any])


tasks = Tasks()


@tasks.every(60, args=("a.png",))
@tasks.task(max_retry=1)
async def shared(ctx: Context, path: str, width: int = 320) -> str:
    """Declared by a library."""
    return path


@tasks.cron("0 9 * * *")
def swept_by_a_library() -> int:
    """A plain function that is declared as a task."""
    return 0


app.include(tasks, prefix="library.", lane="slow")


async def of_a_library(ctx: Context) -> None:
    assert_type(await shared.submit("a.png", width=1), Handle[str])
    assert_type(await shared(ctx, "a.png"), str)
    assert_type(shared.sync.submit("a.png").result(), str)
    assert_type(swept_by_a_library.sync.submit(), SyncHandle[int])


async def main() -> None:
    async with app as opened:
        assert_type(opened, XQueue)
        async with opened.connect() as connection:
            assert_type(connection.settings.url, str)
