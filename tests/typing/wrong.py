"""Wrong calls, one on each marked line: both type checkers refuse exactly these.

Nothing here runs; ``test_typing.py`` has it checked.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from xqueue_core import (
    CallNext,
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

app = XQueue("memory://")


async def around(ctx: Context, call_next: CallNext) -> object:
    return await call_next(ctx)


async def undecorated(app: XQueue) -> AsyncIterator[int]:
    yield 1


# -- the app ---------------------------------------------------------------------------------

XQueue(5)  # wrong: a number for a URL
XQueue(accept_without="PRIORTY")  # wrong: no ability has this name, alone
XQueue(accept_without={"PRIORTY"})  # wrong: no ability has this name
XQueue(middleware=around)  # wrong: one layer for several
XQueue(lifespan=undecorated)  # wrong: no context manager


@app.task
async def thumbnail(ctx: Context, path: str, width: int = 320) -> str:
    return f"{path} {width} {ctx.attempt}"


@app.task(max_retry=5)
def count(text: str, *, deep: bool = False) -> int:
    return len(text) + deep


# -- declaring -------------------------------------------------------------------------------

app.task(isolation="thread")  # wrong: no kind of isolation
app.task("thumbnail")  # wrong: a name by position
app.task(retries=3)  # wrong: no such option
app.task(max_retry="3")  # wrong: a text for a number
app.task(priority=None)  # wrong: a priority is a number
app.task(process_timeout="30s")  # wrong: a text for seconds
app.task(max_concurrency=0.5)  # wrong: a limit is a whole number
app.task(unique_key="a")  # wrong: an option of one task
app.task(key=7)  # wrong: a template is a text
app.task(retry=5)  # wrong: a number for a policy
app.task(retry=RetryPolicy)  # wrong: the class for a policy
app.task(bind=True)  # wrong: Celery's word for a context
app.task(max_retries=5)  # wrong: Celery's word for max_retry
app.task(autoretry_for=(OSError,))  # wrong: Celery's word for a policy
app.task(time_limit=30)  # wrong: Celery's word for process_timeout
app.task(queue="slow")  # wrong: Celery's word for a lane
app.actor(count)  # wrong: dramatiq's word for @app.task
app.every("60")  # wrong: a text for seconds
app.every(60, missed="some")  # wrong: none of the ways
app.cron("0 9 * * *", unique_key="a")  # wrong: not an option of a schedule
app.cron(9)  # wrong: a number for a rule
app.every(60, args="a.png")(5)  # wrong: a number for a function
RetryPolicy(no_retry=ValueError)  # wrong: an exception for a tuple of them
RetryPolicy(no_retry=("ValueError",))  # wrong: a name for an exception
RetryPolicy(attempts=3)  # wrong: no such part of a policy


@app.every(60)
async def often(path: str = "a.png") -> str:
    return path


# -- within a handler ------------------------------------------------------------------------


@app.task
async def handling(ctx: Context) -> None:
    ctx.progress(50)  # wrong: nobody awaits it
    await ctx.progress_nowait(50)  # wrong: there is nothing to await
    await ctx.progress("halfway")  # wrong: a text for percent
    print(ctx.retries)  # wrong: the context has no such attribute
    ctx.retry(countdown=5)  # wrong: Celery's word for raising Retry
    await ctx.submit(thumbnail)  # wrong: a handler for a name
    if ctx.attempt == 1:
        raise Retry("5")  # wrong: a text for seconds
    if ctx.attempt == 2:
        raise Retry(after=5)  # wrong: no such argument
    if ctx.attempt == 3:
        raise Reject("no", 404)  # wrong: one reason alone
    if ctx.canceled():  # wrong: it is no method
        raise Reject(404)  # wrong: a number for a reason


# -- submitting ------------------------------------------------------------------------------


async def main(ctx: Context) -> None:
    await often.submit(5)  # wrong: a number for a text, to a recurring handler
    await thumbnail.submit(640)  # wrong: a number for a text
    await thumbnail.submit("a.png", height=5)  # wrong: no such argument
    await thumbnail.submit("a.png", width="640")  # wrong: a text for a number, by name
    await thumbnail.submit(ctx, "a.png")  # wrong: the context is not submitted
    await thumbnail.submit()  # wrong: an argument is missing
    await thumbnail.submit("a.png", delay=5)  # wrong: an option among the arguments
    thumbnail.submit("a.png")  # wrong: nobody awaits it
    await thumbnail("a.png")  # wrong: called directly it needs its context
    await thumbnail.delay("a.png")  # wrong: no such method
    await thumbnail.apply_async(("a.png",))  # wrong: Celery's word for submit, with options
    await thumbnail.send("a.png")  # wrong: dramatiq's word for submit
    await thumbnail.kiq("a.png")  # wrong: taskiq's word for submit
    await thumbnail.enqueue("a.png")  # wrong: RQ's word for submit
    await app.enqueue("thumbnail", "a.png")  # wrong: RQ's word for submit, of the app
    await app.enqueue_job("thumbnail", "a.png")  # wrong: arq's word for submit
    await app.send_task("thumbnail")  # wrong: Celery's word for submit by name
    await count.submit("a", True)  # wrong: only by keyword
    await app.submit(thumbnail, path="a.png")  # wrong: a handler for a name
    await app.submit("thumbnail", "a.png")  # wrong: by name, keywords only
    await app.submit_many([count.call(5)])  # wrong: a number for a text, in a batch
    await app.submit_many([thumbnail.submit("a.png")])  # wrong: a coroutine for a call
    await app.submit_many(thumbnail)  # wrong: a handler for calls


async def with_options() -> None:
    await count.options(priority="high").submit("a")  # wrong: a text for a number
    await count.options(countdown=5).submit("a")  # wrong: no such option
    await count.options(eta=5).submit("a")  # wrong: Celery's word for run_at
    await count.options(max_concurrency=5).submit("a")  # wrong: an option of the type
    await count.options(run_at="2030-01-01").submit("a")  # wrong: a text for a time
    await count.options(unique_key=7).submit("a")  # wrong: a number for a key
    await count.options(headers={"try": 1}).submit("a")  # wrong: a number for a text
    await count.options(5).submit("a")  # wrong: options have names
    await count.options(delay=5)("a")  # wrong: with options it is submitted, not called
    await count.options(delay=5).submit(5)  # wrong: a number for a text, behind options


# -- waiting ---------------------------------------------------------------------------------


async def results(handle: Handle[str], plain: SyncHandle[str]) -> None:
    number: int = await (await thumbnail.submit("a.png")).result()  # wrong: the result is a text
    other: Handle[int] = await thumbnail.submit("a.png")  # wrong: the result is a text
    text: str = handle.result()  # wrong: nobody awaits it
    thumbnail.submit("a.png").result()  # wrong: the submit is not awaited
    await handle.result(timeout="30")  # wrong: a text for seconds
    await handle.get(timeout=30)  # wrong: Celery's word for result
    await handle.replay(5)  # wrong: only by keyword
    await handle.cancel(reason=404)  # wrong: a number for a reason
    if handle.state() == State.SUCCESS:  # wrong: nobody awaits it
        return
    for _ in handle.events():  # wrong: `async for`
        pass
    async for _ in as_completed([plain]):  # wrong: a handle of plain code
        pass
    app.handle(handle)  # wrong: a handle for an id
    print(number, other, text)
    with app:  # wrong: `async with`
        pass


# -- plain code ------------------------------------------------------------------------------


def in_plain_code(ctx: Context) -> None:
    thumbnail.sync.submit(640)  # wrong: a number for a text
    thumbnail.sync.submit(ctx, "a.png")  # wrong: the context is not submitted
    thumbnail.sync.options(priority="high")  # wrong: a text for a number
    number: int = thumbnail.sync.submit("a.png").result()  # wrong: the result is a text
    app.sync.handle("thumbnail:1").result(timeout="1")  # wrong: a text for seconds
    app.sync.submit_many([thumbnail.sync.submit("a.png")])  # wrong: a handle for a call
    app.sync.submit_many(thumbnail.call("a.png"))  # wrong: one call for many
    app.sync.as_completed([app.handle("thumbnail:1")])  # wrong: a handle of async code
    count.sync("a")  # wrong: it submits, and is not called
    print(number)
    for _ in app.sync.handle("thumbnail:1").events(after=5):  # wrong: a number for a cursor
        pass


async def mixed(plain: SyncHandle[str]) -> None:
    await thumbnail.sync.submit("a.png")  # wrong: the twin is not awaited
    await plain.result()  # wrong: the twin is not awaited
    async for _ in plain.events():  # wrong: plain `for`
        pass
    async with app.sync:  # wrong: plain `with`
        pass


# -- libraries -------------------------------------------------------------------------------

app.include(app)  # wrong: an app for tasks
app.include(Tasks)  # wrong: the class for tasks
app.include(Tasks(), prefix=None)  # wrong: a prefix is a text
Tasks("mail")  # wrong: no name is given here
