"""The client against real backends: submit, wait, cancel, replay, follow events."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import Any

import pytest

from support.apps import declare, make_app
from support.hand_worker import hand_worker
from xqueue_core import (
    InvalidTask,
    ResultExpired,
    State,
    TaskCanceled,
    TaskFailed,
    TaskTimedOut,
    Unavailable,
    Unknown,
    UnknownType,
    XQueue,
    as_completed,
)
from xqueue_core.calls import AnyCommand, Delivery, Did, Verdict
from xqueue_core.payload import BYTES
from xqueue_core.task import AnyOutcome, EventName, Failed, Failure, Success, TimedOut

pytestmark = pytest.mark.anyio

# -- submitting --------------------------------------------------------------------------------


async def test_a_task_is_submitted_and_its_result_awaited(app: XQueue) -> None:
    thumbnail = declare(app)
    handle = await thumbnail.submit("a.png", width=640)
    assert handle.id.startswith("thumbnail:")
    assert await handle.state() is State.PENDING
    async with hand_worker(app):
        assert await handle.result(timeout=10) == {"path": "a.png", "width": 640}
    info = await handle.info()
    assert (info.state, info.attempt, info.lane) == (State.SUCCESS, 1, "thumbnail")


async def test_options_arrive_in_the_envelope(app: XQueue) -> None:
    at = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=30)
    options = {
        "priority": 7,
        "max_retry": 1,
        "queue_timeout": 5.0,
        "process_timeout": datetime.timedelta(minutes=1),
        "run_at": at,
        "unique_key": "k",
        "unique_for": 9,
        "headers": {"a": "b"},
        "result_ttl": 3,
    }
    handle = await declare(app).options(**options).submit("a.png")
    info = await handle.info()
    task = info.task
    assert info.state is State.SCHEDULED
    assert info.due_at == at.timestamp()
    assert task is not None
    assert (task.priority, task.max_retry, task.queue_timeout) == (7, 1, 5.0)
    assert (task.process_timeout, task.unique_for, task.result_ttl) == (60.0, 9.0, 3.0)
    assert (task.headers, task.remember) == ({"a": "b"}, True)


async def test_many_are_submitted_and_come_back_as_they_end(app: XQueue) -> None:
    thumbnail = declare(app)
    handles = await app.submit_many(thumbnail.call(f"{n}.png") for n in range(1000))
    assert len({handle.id for handle in handles}) == 1000
    async with hand_worker(app):
        paths = {(await done.result())["path"] async for done in as_completed(handles, timeout=50)}
        assert paths == {f"{n}.png" for n in range(1000)}
        assert [(await one.result())["path"] for one in handles[:3]] == ["0.png", "1.png", "2.png"]


async def test_a_type_is_submitted_by_its_name(app: XQueue) -> None:
    declare(app)
    handle = await app.submit("thumbnail", path="a.png")
    async with hand_worker(app):
        assert await handle.result(timeout=10) == {"path": "a.png"}
        assert await app.handle(handle.id).result(timeout=10) == {"path": "a.png"}


async def test_a_type_that_another_app_declared_is_known(app: XQueue) -> None:
    app.task(name="other", lane="slow")(lambda path: None)
    await app.submit("other", path="a.png")
    stranger = make_app()
    stranger._backends, stranger._overrides = app._backends, app._overrides
    async with stranger:
        handle = await stranger.submit("other", path="b.png")
        info = await handle.info()
        assert info.lane == "slow"
        with pytest.raises(UnknownType, match=r"'othre'; did you mean 'other'\? \(known: other\)"):
            await stranger.submit("othre", path="b.png")


@pytest.mark.parametrize("reconnects", [False, True])
async def test_by_name_a_task_follows_its_type_to_another_lane(
    app: XQueue, reconnects: bool
) -> None:
    def like(other: XQueue) -> XQueue:
        made = make_app()
        made._backends, made._overrides = other._backends, other._overrides
        return made

    def owner(lane: str) -> XQueue:
        made = like(app)
        made.task(name="mail", lane=lane)(lambda n: None)
        return made

    async def lane_of(by: XQueue) -> str:
        handle = await by.submit("mail", n=1)
        info = await handle.info()
        await handle.cancel()
        return info.lane

    old, new, later, stranger = owner("old"), owner("new"), owner("new"), like(app)
    async with old, new, later, stranger:
        assert [await lane_of(old), await lane_of(stranger)] == ["old", "old"]
        assert await lane_of(new) == "new"
        if reconnects:
            await stranger.aclose()
        handle = await stranger.submit("mail", n=2)
        assert (await handle.info()).lane == "new"
        assert await lane_of(later) == "new", "nobody else has moved it back"


async def test_the_same_id_is_accepted_once(app: XQueue) -> None:
    thumbnail = declare(app).options(id="one")
    first, second = await thumbnail.submit("a.png"), await thumbnail.submit("b.png")
    assert first.id == second.id == "thumbnail:one"
    assert (first.duplicate, second.duplicate) == (False, True)


async def test_a_call_submitted_twice_is_one_task(app: XQueue) -> None:
    call = declare(app).call("a.png")
    first, second, third = await app.submit_many([call, call, call])
    assert first.id == second.id == third.id
    assert [one.duplicate for one in (first, second, third)] == [False, True, True]


async def test_the_handle_of_a_duplicate_is_that_of_the_first(app: XQueue) -> None:
    thumbnail = declare(app).options(unique_key="user 7")
    first, second = await thumbnail.submit("a.png"), await thumbnail.submit("b.png")
    assert second.id == first.id
    assert second.duplicate
    async with hand_worker(app):
        assert await second.result(timeout=10) == {"path": "a.png"}
        # The key is free again now that the first has ended.
        assert not (await thumbnail.submit("c.png")).duplicate


async def test_bytes_are_carried_as_they_are(app: XQueue) -> None:
    @app.task(content_type=BYTES)
    async def store(body: bytes) -> str:
        raise AssertionError("handlers are not run here")

    body = bytes(range(256))

    def decide(delivery: Delivery) -> AnyOutcome:
        spec = app.handlers[delivery.task.type]
        arguments = spec.arguments(delivery.task.payload, delivery.task.content_type)
        return Success(result=spec.encode_result(str(arguments["body"] == body)))

    handle = await store.submit(body)
    async with hand_worker(app, decide):
        assert await handle.result(timeout=10) == "True"


async def test_the_largest_payload_is_accepted(app: XQueue) -> None:
    text = "x" * (512 * 1024 - len('{"path":""}'))
    handle = await declare(app).submit(text)
    info = await handle.info()
    assert info.task is not None
    assert len(info.task.payload) == 512 * 1024


# -- ends other than success -------------------------------------------------------------------


def ending(outcome: AnyOutcome) -> Callable[[Delivery], AnyOutcome]:
    return lambda _: outcome


async def test_a_failure_is_raised_with_what_is_known_of_it(app: XQueue) -> None:
    handle = await declare(app).submit("a.png")
    failure = Failure("exception", "builtins.ValueError", "no such file", "Traceback ...")
    async with hand_worker(app, ending(Failed(failure))):
        with pytest.raises(TaskFailed, match="failed: ValueError: no such file") as caught:
            await handle.result(timeout=10)
    error = caught.value
    assert (error.task_id, error.reason) == (handle.id, "exception")
    assert (error.error_type, error.traceback) == ("builtins.ValueError", "Traceback ...")


async def test_a_task_that_took_too_long_is_told(app: XQueue) -> None:
    handle = await declare(app).submit("a.png")
    async with hand_worker(app, ending(TimedOut(Failure("process_timeout", message="60 s")))):
        with pytest.raises(TaskTimedOut, match="took too long: 60 s"):
            await handle.result(timeout=10)


async def test_a_result_of_another_type_is_refused(app: XQueue) -> None:
    handle = await declare(app).submit("a.png")
    async with hand_worker(app, ending(Success(result=b"[1]"))):
        with pytest.raises(InvalidTask, match="return annotation of 'thumbnail': Expected `obj"):
            await handle.result(timeout=10)


async def test_a_canceled_task_is_told_and_can_run_again(app: XQueue) -> None:
    handle = await declare(app).submit("a.png")
    assert await handle.replay() is Did.LIVE
    assert await handle.cancel("not needed") is Did.APPLIED
    assert await handle.cancel() is Did.FINAL
    with pytest.raises(TaskCanceled, match="was canceled: not needed") as caught:
        await handle.result(timeout=10)
    assert caught.value.task_id == handle.id
    assert await handle.replay() is Did.APPLIED
    async with hand_worker(app):
        assert await handle.result(timeout=10) == {"path": "a.png"}


async def test_a_command_whose_reply_got_lost_says_what_it_did(app: XQueue) -> None:
    handle = await declare(app).submit("a.png")
    queue: Any = (await app._client.session.connection()).faces.queue
    control, tries = queue.control, list[Sequence[Verdict]]()

    async def lossy(commands: Sequence[AnyCommand]) -> Sequence[Verdict]:
        tries.append(await control(commands))
        if len(tries) % 2:
            raise Unknown("the reply was lost")
        return tries[-1]

    queue.control = lossy
    assert await handle.cancel() is Did.APPLIED
    assert await handle.replay() is Did.APPLIED
    assert len(tries) == 4
    queue.control = control
    assert await handle.replay() is Did.LIVE
    assert await handle.cancel() is Did.APPLIED
    assert await handle.cancel() is Did.FINAL


async def test_what_never_was_has_no_result(app: XQueue) -> None:
    handle = app.handle("thumbnail:nobody")
    for ask in (handle.result, handle.wait, handle.info, handle.state):
        with pytest.raises(ResultExpired, match="no record of task thumbnail:nobody") as caught:
            await ask()
        assert caught.value.task_id == "thumbnail:nobody"
    assert await handle.cancel() is Did.UNKNOWN
    assert await handle.replay() is Did.UNKNOWN
    with pytest.raises(InvalidTask, match="'nobody' is not an id"):
        app.handle("nobody")


async def test_a_wait_ends_in_time(app: XQueue) -> None:
    thumbnail = declare(app)
    handle = await thumbnail.submit("a.png")
    with pytest.raises(TimeoutError, match=f"task {handle.id} has not ended within 0.05 s"):
        await handle.result(timeout=0.05)
    with pytest.raises(
        TimeoutError,
        match=r"task thumbnail:.* has not ended within 0\.05 s: it is pending, and no live worker",
    ):
        await anext(as_completed([handle], timeout=0.05))
    other = await thumbnail.submit("b.png")
    with pytest.raises(
        TimeoutError, match=r"^2 tasks have not ended within 0\.05 s; task .*: it is"
    ):
        await anext(as_completed([handle, other], timeout=0.05))
    assert await handle.state() is State.PENDING


# -- events ------------------------------------------------------------------------------------


async def test_events_come_as_they_happen_and_end_with_the_task(app: XQueue) -> None:
    handle = await declare(app).submit("a.png")
    names: list[EventName] = []
    cursors: list[str] = []

    async def follow() -> None:
        async for notice in handle.events("0.0"):
            if notice.event is not None:
                names.append(notice.event.name)
                cursors.append(notice.cursor)

    async with hand_worker(app):
        await asyncio.wait_for(follow(), 10)
    assert names == [EventName.ACCEPTED, EventName.LEASED, EventName.FINISHED]
    names.clear()
    # Behind a cursor only what came later.
    handle_again = app.handle(handle.id)
    async for notice in handle_again.events(cursors[0]):
        assert notice.event is not None
        names.append(notice.event.name)
    assert names == [EventName.LEASED, EventName.FINISHED]


async def test_a_stream_begun_after_the_end_ends_too(
    app: XQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xqueue_core.handle.LOOK", 0.02)
    handle = await declare(app).submit("a.png")
    await handle.cancel()
    assert [notice async for notice in handle.events()] == []


@pytest.mark.parametrize("what", ["result", "wait", "as_completed"])
async def test_a_close_tells_who_waits(app: XQueue, what: str) -> None:
    handle = await declare(app).submit("a.png")

    async def stream(items: AsyncIterator[object]) -> list[object]:
        return [item async for item in items]

    waits: dict[str, Callable[[], Coroutine[Any, Any, object]]] = {
        "result": handle.result,
        "wait": handle.wait,
        "as_completed": lambda: stream(as_completed([handle])),
    }
    waiting = asyncio.create_task(waits[what]())
    await asyncio.sleep(0.2)  # whatever it does first, it cannot end by itself
    await app.aclose()
    with pytest.raises(Unavailable, match="the client was closed meanwhile"):
        await waiting
    assert await handle.state() is State.PENDING
