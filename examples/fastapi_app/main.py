"""The service: accepts work, and says how it stands."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import FastAPI, Header, HTTPException, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from fastapi_app.jobs import app, thumbnail
from xqueue_core import InvalidTask, ResultExpired, State, Unavailable


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Open the queue when the server starts: a wrong URL shows then, not in a request."""
    async with app:
        yield


api = FastAPI(lifespan=lifespan)


class Wanted(BaseModel):
    """What a client asks for."""

    path: str = Field(max_length=4096)
    width: int = Field(320, ge=1, le=4000)


class Status(BaseModel):
    """How a task stands."""

    id: str
    state: str
    percent: float | None = None
    result: str | None = None
    error: str | None = None


@api.post("/thumbnails", status_code=202)
async def create(
    wanted: Wanted, idempotency_key: Annotated[str | None, Header(max_length=200)] = None
) -> Status:
    """Accept a task. A repeated key means the task of its first request, whatever the body."""
    submitter = thumbnail.options()
    if idempotency_key:
        submitter = submitter.options(unique_key=idempotency_key, unique_for=3600)
    handle = await submitter.submit(wanted.path, width=wanted.width)
    return Status(id=handle.id, state=State.PENDING)


@api.get("/tasks/{id}")
async def status(id: str) -> Status:
    """Tell how a task stands, by its id alone: any process can."""
    try:
        handle = app.handle(id)
        info = await handle.info()
        result = await handle.result() if info.state is State.SUCCESS else None
    except (InvalidTask, ResultExpired):
        raise HTTPException(404, f"no task {id}") from None
    return Status(
        id=info.id,
        state=info.state,
        percent=info.progress.percent if info.progress else None,
        result=result,
        error=info.failure.message if info.failure else None,
    )


@api.exception_handler(Unavailable)
async def unavailable(_: Request, error: Unavailable) -> JSONResponse:
    """The broker does not answer, and nothing was accepted: the client may try again."""
    return JSONResponse({"detail": "try again"}, 503, {"Retry-After": "5"})
