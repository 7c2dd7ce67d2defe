"""Who does the work: processes of their own, or a worker within this one."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from xqueue_core import XQueue
from xqueue_core.worker import Worker

#: Seconds a worker has to end by itself, beyond its grace time, before it is killed.
MARGIN = 5.0
#: Bytes of the log that are shown when the workers have ended.
LOG_SHOWN = 2000

Died = Callable[[int], None]


class WorkersGone(Exception):
    """Every worker has ended, though there is work left."""


@asynccontextmanager
async def processes(
    count: int, app_file: Path, log: Path, grace: float, died: Died
) -> AsyncIterator[None]:
    """Worker processes, ended with the context and, whatever happens, with this process.

    Raises WorkersGone out of the context when all have ended; ``died`` is told of each.
    """
    started: list[asyncio.subprocess.Process] = []
    with log.open("ab") as output:
        start = output.tell()
        try:
            for _ in range(count):
                started.append(await _start(app_file, output.fileno()))
            async with _watched(_all_ended(started, died, log, start)):
                yield
        finally:
            await _stop(started, grace + MARGIN)


@asynccontextmanager
async def embedded(app: XQueue) -> AsyncIterator[None]:
    """A worker within this process, for a broker that lives in it."""
    async with _watched(Worker(app).run()):
        yield


async def _start(app_file: Path, output: int) -> asyncio.subprocess.Process:
    # Supervised, a worker ends when its standard input does: with us, however we end. It stays
    # in our process group, so that a kill of the whole group leaves nothing behind.
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "xqueue_core.cli", "worker", str(app_file), "--supervised"),
        stdin=asyncio.subprocess.PIPE,
        stdout=output,
        stderr=output,
    )


async def _all_ended(
    workers: list[asyncio.subprocess.Process], died: Died, log: Path, start: int
) -> None:
    async def ended(worker: asyncio.subprocess.Process) -> None:
        await worker.wait()
        died(worker.pid)

    await asyncio.gather(*map(ended, workers))
    with log.open("rb") as opened:
        opened.seek(start)
        said = opened.read()[-LOG_SHOWN:].decode(errors="replace")
    raise WorkersGone(f"every worker has ended; the end of {log}:\n{said}")


@asynccontextmanager
async def _watched(watching: Coroutine[Any, Any, Any]) -> AsyncIterator[None]:
    """Run the context, unless what watches raises first: then that is raised."""
    try:
        async with asyncio.TaskGroup() as group:
            watch = group.create_task(watching)
            yield
            watch.cancel()
    except BaseExceptionGroup as error:
        raise error.exceptions[0] from None


async def _stop(workers: list[asyncio.subprocess.Process], patience: float) -> None:
    try:
        for worker in workers:
            if worker.stdin is not None:
                worker.stdin.close()  # asks a supervised worker to stop
        async with asyncio.timeout(patience):
            await asyncio.gather(*(worker.wait() for worker in workers))
    except TimeoutError:
        pass
    finally:
        for worker in workers:
            if worker.returncode is None:
                worker.kill()
                await worker.wait()
