"""``app.sync``: the client in plain code, without a loop, from many threads."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import trio

from support.apps import declare, make_app
from support.plain import background, clients, wait_until
from xqueue_core import (
    Context,
    InvalidTask,
    ResultExpired,
    State,
    SyncHandle,
    TaskFailed,
    Unavailable,
    UnknownType,
    Unsupported,
    XQueue,
)
from xqueue_core.calls import Accepted, Did, Put
from xqueue_core.task import EventName, Task


@pytest.fixture
def app(url: str) -> Iterator[XQueue]:
    """An app for plain code on a fresh broker."""
    app = make_app(url)
    yield app
    app.sync.close()


@pytest.fixture(params=["asyncio", "uvloop", "trio"])
def host(request: pytest.FixtureRequest) -> str:
    """The event loop of the handlers."""
    return str(request.param)


def test_tasks_are_submitted_and_awaited(app: XQueue, host: str) -> None:
    @app.task
    async def add(a: int, b: int = 1) -> int:
        return a + b

    @app.task(max_retry=0)
    def broken() -> None:
        raise KeyError("k")

    with background(app, host):
        handle = add.sync.submit(1, b=2)
        assert isinstance(handle, SyncHandle)
        assert handle.result(timeout=10) == 3
        assert (handle.state(), handle.info().attempt) == (State.SUCCESS, 1)
        assert handle.wait().state is State.SUCCESS
        assert app.sync.submit("add", a=4).result(10) == 5
        assert app.sync.handle(handle.id).result(10) == 3
        with pytest.raises(TaskFailed, match="KeyError: 'k'"):
            broken.sync.submit().result(10)
        handles = app.sync.submit_many(add.call(n) for n in range(50))
        ended = {one.id: one.result() for one in app.sync.as_completed(handles, timeout=30)}
        assert ended == {one.id: n + 1 for n, one in enumerate(handles)}


def test_options_and_duplicates(app: XQueue) -> None:
    thumbnail = declare(app)
    later = thumbnail.sync.options(delay=60, priority=3).options(unique_key="k")
    first, second = later.submit("a.png"), later.submit("b.png")
    assert (first.duplicate, second.duplicate) == (False, True)
    assert second.id == first.id
    task = first.info().task
    assert task is not None
    assert (task.priority, task.delay) == (3, 60.0)
    assert repr(first) == f"<SyncHandle {first.id}>"
    # Options that were given before `sync` hold as well.
    assert thumbnail.options(id="x").sync.submit("a.png").id == "thumbnail:x"


def test_a_task_is_canceled_and_runs_again(app: XQueue) -> None:
    handle = declare(app).sync.submit("a.png")
    assert handle.replay() is Did.LIVE
    assert handle.cancel("not needed") is Did.APPLIED
    assert handle.cancel() is Did.FINAL
    assert handle.replay(delay=60) is Did.APPLIED
    assert handle.state() is State.SCHEDULED


def test_events_are_a_plain_iterator(app: XQueue) -> None:
    @app.task
    async def add(a: int) -> int:
        return a

    handle = add.sync.submit(1)
    with background(app):
        seen = list(handle.events(after="0.0"))
    names = [one.event.name for one in seen if one.event is not None]
    assert names == [EventName.ACCEPTED, EventName.LEASED, EventName.FINISHED]
    behind = list(handle.events(after=seen[0].cursor))
    assert [one.cursor for one in behind] == [one.cursor for one in seen[1:]]


def test_errors_are_those_of_the_async_client(app: XQueue) -> None:
    thumbnail = declare(app)
    with pytest.raises(InvalidTask, match=r"Expected `str`, got `int` - at `\$.path`"):
        thumbnail.sync.submit(5)
    with pytest.raises(UnknownType, match="did you mean 'thumbnail'"):
        app.sync.submit("thumbnial", path="a")
    with pytest.raises(
        InvalidTask, match=r"keywords only: app\.submit\('thumbnail', path=\.\.\., "
    ):
        app.sync.submit("thumbnail", "a.png")  # type: ignore[arg-type]
    with pytest.raises(InvalidTask, match="is not an id"):
        app.sync.handle("nobody")
    with pytest.raises(ResultExpired, match="no record of task thumbnail:nobody"):
        app.sync.handle("thumbnail:nobody").info()
    handle = thumbnail.sync.submit("a.png")
    with pytest.raises(TimeoutError, match=f"task {handle.id} has not ended within 0.05 s: it is"):
        handle.result(timeout=0.05)
    with pytest.raises(
        TimeoutError,
        match=r"task thumbnail:.* has not ended within 0\.05 s: it is pending, and no live worker",
    ):
        next(app.sync.as_completed([handle], timeout=0.05))
    assert list(app.sync.as_completed([])) == []


def test_plain_handlers_submit_and_wait(app: XQueue, host: str) -> None:
    @app.task
    def child(n: int) -> int:
        return n * 2

    @app.task
    def parent(ctx: Context, n: int) -> list[int]:
        one: int = ctx.app.sync.submit("child", n=n).result(10)
        handles = ctx.app.sync.submit_many([child.call(one), child.call(n)])
        return [one, *(handle.result(10) for handle in handles)]

    @app.task(max_retry=0)
    async def on_the_loop(ctx: Context) -> None:
        ctx.app.sync.submit("child", n=1)

    with background(app, host):
        assert parent.sync.submit(1).result(20) == [2, 4, 2]
        with pytest.raises(TaskFailed, match=r"Unsupported.*write `await app.submit\(...\)`"):
            on_the_loop.sync.submit().result(20)


# -- threads and loops ---------------------------------------------------------------------------


def test_many_threads_share_one_thread_and_connection(app: XQueue) -> None:
    thumbnail = declare(app)
    with ThreadPoolExecutor(20) as pool:
        handles = list(pool.map(lambda n: thumbnail.sync.submit(f"{n}.png"), range(200)))
        states = list(pool.map(lambda one: one.state(), handles))
    assert len({one.id for one in handles}) == 200
    assert set(states) == {State.PENDING}
    assert clients() == 1


def calls(app: XQueue) -> dict[str, Callable[[], Any]]:
    """Every way to wait for the broker, and what is to be written on a loop instead."""
    thumbnail = declare(app)
    handle = app.sync.handle("thumbnail:x")
    return {
        "await thumbnail.submit(...)": lambda: thumbnail.sync.submit("a"),
        "await app.submit(...)": lambda: app.sync.submit("thumbnail", path="a"),
        "await app.submit_many(...)": lambda: app.sync.submit_many([thumbnail.call("a")]),
        "await app.handle(id).result()": handle.result,
        "await app.handle(id).wait()": handle.wait,
        "await app.handle(id).info()": handle.info,
        "await app.handle(id).state()": handle.state,
        "await app.handle(id).cancel()": handle.cancel,
        "await app.handle(id).replay()": handle.replay,
        "async for notice in app.handle(id).events()": handle.events,
        "async for handle in as_completed(handles)": (
            lambda: next(app.sync.as_completed([handle]))
        ),
        "async with app:": app.sync.__enter__,
        "await app.aclose()": app.sync.close,
    }


@pytest.mark.parametrize("loop", ["asyncio", "trio"])
def test_on_an_event_loop_it_is_refused_and_says_what_to_write(loop: str) -> None:
    app = make_app()
    thread = {"asyncio": r"asyncio\.to_thread\(\)", "trio": r"trio\.to_thread\.run_sync\(\)"}[loop]

    async def main() -> None:
        for instead, call in calls(app).items():
            with pytest.raises(Unsupported, match=f"loop of {loop} runs.*by {thread}") as caught:
                call()
            assert f"write `{instead}`" in str(caught.value)

    asyncio.run(main()) if loop == "asyncio" else trio.run(main)
    assert clients() == 0


def test_a_thread_of_an_async_program_may_use_it(app: XQueue) -> None:
    thumbnail = declare(app)

    async def main() -> None:
        one = await asyncio.to_thread(thumbnail.sync.submit, "a.png")
        assert await app.handle(one.id).state() is State.PENDING
        await app.aclose()

    async def on_trio() -> None:
        one = await trio.to_thread.run_sync(thumbnail.sync.submit, "a.png")
        assert await app.handle(one.id).state() is State.PENDING

    asyncio.run(main())
    trio.run(on_trio)


# -- ends ------------------------------------------------------------------------------------------


def test_a_close_ends_thread_and_waits_and_the_next_call_starts_anew(app: XQueue) -> None:
    thumbnail = declare(app)
    handle = thumbnail.sync.submit("a.png")
    errors: list[BaseException] = []

    def wait(call: Callable[[], Any]) -> None:
        try:
            call()
        except BaseException as error:
            errors.append(error)

    stream = handle.events(after="0.0")
    next(stream)  # the next step waits
    waits = [handle.wait, lambda: list(stream), lambda: list(app.sync.as_completed([handle]))]
    threads = [threading.Thread(target=wait, args=(call,)) for call in waits]
    for one in threads:
        one.start()
    wait_until("they wait", lambda: waiting(app) >= 3)
    app.sync.close()
    assert clients() == 0
    for one in threads:
        one.join(10)
    assert [type(error) for error in errors] == [Unavailable] * 3
    assert "the client was closed meanwhile" in str(errors[0])
    app.sync.close()  # there is nothing to close
    with app.sync as opened:
        assert opened.handle(handle.id).state() is State.PENDING
    assert clients() == 0


def waiting(app: XQueue) -> int:
    """How many calls are under way on the client's thread."""
    loop = app._client.elsewhere._loop
    tasks = asyncio.all_tasks(loop)
    names = [str(getattr(one.get_coro(), "__qualname__", "")) for one in tasks]
    return sum(name.endswith("there") for name in names)


@pytest.mark.parametrize("what", ["wait", "result", "events", "as_completed"])
def test_an_interrupt_ends_a_wait_at_once(app: XQueue, what: str) -> None:
    handle = declare(app).sync.submit("a.png")
    handle.info()
    wait: Callable[[], Any] = {
        "wait": handle.wait,
        "result": lambda: handle.result(timeout=60),
        "events": lambda: list(handle.events()),
        "as_completed": lambda: list(app.sync.as_completed([handle])),
    }[what]
    interrupted: list[float] = []

    def interrupt() -> None:
        wait_until("it waits", lambda: waiting(app))
        interrupted.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        wait()
    took = time.monotonic() - interrupted[0]
    thread.join()
    assert took < 2, "nothing else would have ended this wait before a minute"
    wait_until("nothing is left of it", lambda: not waiting(app))
    assert handle.state() is State.PENDING


def test_an_interrupted_submit_says_with_its_id_what_is_known() -> None:
    app = make_app()
    thumbnail = declare(app)
    gate, release = threading.Event(), asyncio.Event()

    async def slow(tasks: Sequence[Task]) -> Sequence[Accepted]:
        gate.set()
        await release.wait()
        return [Accepted(Put.NEW) for _ in tasks]

    app.sync.handle("thumbnail:x").cancel()  # it is open from here on

    def interrupt() -> None:
        gate.wait(10)
        os.kill(os.getpid(), signal.SIGINT)

    loop, queue = opened(app)
    queue.put = slow
    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt) as caught:
        thumbnail.sync.options(id="one").submit("a.png")
    thread.join()
    assert caught.value.__notes__ == ["submit of thumbnail:one was cancelled, outcome unknown"]
    loop.call_soon_threadsafe(release.set)
    app.sync.close()


def opened(app: XQueue) -> tuple[asyncio.AbstractEventLoop, Any]:
    """The loop of the client's thread, and the queue of its connection."""
    ((loop, session),) = app._client._sessions._open.items()
    assert session._ready is not None
    return loop, session._ready.result().faces.queue


def test_who_waits_in_another_folder_is_told_which_file_was_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    app = XQueue("sqlite:///there.db")

    @app.task
    async def job() -> None: ...

    try:
        handle = job.sync.submit()
        asked = f"sqlite:///there.db ({tmp_path / 'there.db'})"
        assert f"No worker is registered on {asked}: " in str(handle.why())
        with pytest.raises(TimeoutError) as caught:
            handle.result(timeout=0.05)
        assert str(caught.value).endswith(f"serves its lane 'job' on {asked}")
    finally:
        app.sync.close()
