"""The example with FastAPI: what its service answers, with many requests at once."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from xqueue_core import Unavailable
from xqueue_core.client.handler import Submitter
from xqueue_core.worker import Worker

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def main(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The service's module, imported anew in an empty folder: its queue begins empty."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(EXAMPLES))
    import fastapi_app.main  # type: ignore[import-not-found, unused-ignore]

    yield fastapi_app.main
    for name in [name for name in sys.modules if name.partition(".")[0] == "fastapi_app"]:
        del sys.modules[name]


@asynccontextmanager
async def served(main: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the running service, its lifespan included."""
    transport = httpx.ASGITransport(main.api, raise_app_exceptions=False)
    async with (
        main.api.router.lifespan_context(main.api),
        httpx.AsyncClient(transport=transport, base_url="http://test") as client,
    ):
        yield client


@asynccontextmanager
async def working(main: Any) -> AsyncIterator[None]:
    """A worker of the app, within this loop."""
    worker = Worker(main.app, concurrency=10)
    async with asyncio.TaskGroup() as group:
        group.create_task(worker.run())
        try:
            yield
        finally:
            worker.stop()


async def ended(client: httpx.AsyncClient, id: str) -> dict[str, Any]:
    """How a task ended, as a client finds out: by asking again."""
    async with asyncio.timeout(30):
        while True:
            found: dict[str, Any] = (await client.get(f"/tasks/{id}")).json()
            if found["state"] not in ("pending", "processing", "scheduled"):
                return found
            await asyncio.sleep(0.02)


def test_many_requests_at_once_on_sqlite(main: Any) -> None:
    async def scenario() -> None:
        async with served(main) as client, working(main):
            answers = await asyncio.gather(
                *(
                    client.post("/thumbnails", json={"path": f"{n}.png", "width": 10 + n})
                    for n in range(20)
                )
            )
            assert {one.status_code for one in answers} == {202}
            ids = [one.json()["id"] for one in answers]
            assert len(set(ids)) == 20
            found = await asyncio.gather(*(ended(client, id) for id in ids))
        assert [one["result"] for one in found] == [f"{n}.png at {10 + n}" for n in range(20)]
        assert {one["state"] for one in found} == {"success"}
        assert {one["percent"] for one in found} <= {None, 50.0}

    asyncio.run(scenario())
    assert Path("xqueue.db").is_file()


def test_a_request_that_is_repeated_under_its_key_is_one_task(main: Any) -> None:
    async def scenario() -> None:
        async with main.app.testing() as t, served(main) as client:
            ids = set()
            for _ in range(3):
                headers = {"Idempotency-Key": "order-7"}
                wanted = {"path": "a.png"}
                answer = await client.post("/thumbnails", json=wanted, headers=headers)
                ids.add(answer.json()["id"])
            [id] = ids
            assert (await client.get(f"/tasks/{id}")).json()["state"] == "pending"
            await t.run_all()
            assert (await client.get(f"/tasks/{id}")).json()["result"] == "a.png at 320"

    asyncio.run(scenario())


def test_what_is_refused(main: Any) -> None:
    async def scenario() -> None:
        async with main.app.testing() as t, served(main) as client:
            for wrong in ({}, {"path": "a.png", "width": 0}, {"path": 5}):
                assert (await client.post("/thumbnails", json=wrong)).status_code == 422
            t.submitted().never()
            for id in ("thumbnail:nobody", "nonsense"):
                answer = await client.get(f"/tasks/{id}")
                assert (answer.status_code, answer.json()) == (404, {"detail": f"no task {id}"})

    asyncio.run(scenario())


def test_a_broker_that_is_away_is_told_as_such(main: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*_: object, **__: object) -> None:
        raise Unavailable("the broker does not answer")

    async def scenario() -> None:
        async with main.app.testing(), served(main) as client:
            monkeypatch.setattr(Submitter, "submit", away)
            answer = await client.post("/thumbnails", json={"path": "a.png"})
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")

    asyncio.run(scenario())
