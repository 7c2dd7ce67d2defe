"""A test with real workers whose history is checked in the end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from support import faulty_app
from support.history import ending
from support.history.checker import Report, Terms, check
from support.history.events import AnyEvent, Continued, Killed, Started, Stopped, Submitted
from support.history.noting import wishes
from support.history.writer import Writer, now, read
from support.processes import Cli, cli
from support.workers import until
from xqueue_core.client.call import Call
from xqueue_core.handle import Handle
from xqueue_core.task import Task


class Scene:
    """The app of :mod:`support.faulty_app`, its workers, and what is done to them."""

    def __init__(self, folder: Path, terms: Terms, url: str = "") -> None:
        self.folder = folder
        self.terms = terms
        self.url = url or f"sqlite:///{folder / 'tasks.db'}"
        self.path = folder / "history.jsonl"
        self.writer = Writer(self.path)
        self.app, self.handlers = faulty_app.make(
            self.url, str(self.path), terms.lease, terms.heartbeat
        )
        self.ids: list[str] = []

    # -- what happens -----------------------------------------------------------------------

    def worker(self, *arguments: str) -> AbstractContextManager[Cli]:
        """A worker process, or a supervisor of several."""
        return cli(self.url, self.path, "worker", "support.faulty_app:app", *arguments)

    def helper(self, script: str, *arguments: str) -> subprocess.Popen[bytes]:
        """A process that runs a script which imports what the tests do; the caller ends it."""
        path = os.pathsep.join(one for one in sys.path if one)
        return subprocess.Popen(
            [sys.executable, script, *arguments], env={**os.environ, "PYTHONPATH": path}
        )

    async def submit(self, name: str, **given: Any) -> Handle[Any]:
        """Submit one task."""
        [handle] = await self.submit_many([self.handlers[name].call(**given)])
        return handle

    async def submit_many(self, calls: list[Call[Any]]) -> list[Handle[Any]]:
        """Submit, and note that they were accepted."""
        asked = now()
        handles = await self.app.submit_many(calls)
        self.accepted(asked, *handles, tasks=[one.task for one in calls])
        return handles

    def accepted(self, asked: float, *handles: Handle[Any], tasks: Sequence[Task] = ()) -> None:
        """Note that they were accepted."""
        known = {task.id: wishes(task) for task in tasks}
        self.ids += [one.id for one in handles]
        self.writer.write(
            *(
                Submitted(
                    at=now(),
                    id=one.id,
                    answer="duplicate" if one.duplicate else "ok",
                    due=asked,
                    lane=one.id.partition(":")[0],
                    **known.get(one.id, {}),
                )
                for one in handles
            )
        )

    def kill(self, worker: Cli) -> None:
        """SIGKILL, and wait until it is dead."""
        sent = now()
        worker.process.kill()
        worker.process.wait()
        self.writer.write(Killed(at=now(), sent=sent, pid=worker.process.pid))

    def stop(self, worker: Cli) -> None:
        """SIGSTOP."""
        self.writer.write(Stopped(at=now(), pid=worker.process.pid))
        worker.send(signal.SIGSTOP)

    def go_on(self, worker: Cli) -> None:
        """SIGCONT."""
        self.writer.write(Continued(at=now(), pid=worker.process.pid))
        worker.send(signal.SIGCONT)

    # -- what is seen -----------------------------------------------------------------------

    def events(self) -> list[AnyEvent]:
        """The history so far."""
        return read(self.path)

    def starts(self, id: str = "") -> list[Started]:
        """Starts so far, of one task or of all."""
        return [one for one in self.events() if isinstance(one, Started) and id in ("", one.id)]

    async def until(self, what: str, condition: Callable[[], Any], seconds: float = 20.0) -> Any:
        """Wait until the condition holds."""
        return await until(what, condition, seconds, every=0.05)

    async def started(self, count: int) -> None:
        """Wait until so many handlers have started."""
        await self.until(f"{count} handlers start", lambda: len(self.starts()) >= count)

    async def serving(self, worker: Cli) -> None:
        """Wait until a worker serves."""
        await self.until("it serves", lambda: "serves lanes" in worker.log())

    async def report(self, seconds: float = 20.0) -> Report:
        """Wait until nothing lives, note how everything ended, and check the history."""
        assert await ending.drained(self.app, seconds), "something still lives"
        await ending.note(self.app, self.ids, self.writer)
        return check(self.events(), self.terms)


@asynccontextmanager
async def scene(
    folder: Path,
    lease: float = faulty_app.LEASE,
    heartbeat: float = faulty_app.HEARTBEAT,
    url: str = "",
) -> AsyncIterator[Scene]:
    """A scene whose client is closed at the end; over SQLite unless a URL names another broker."""
    made = Scene(folder, Terms(lease, heartbeat, tolerance=0.05), url)
    # Worker processes inherit it.
    with patch.dict(os.environ, {faulty_app.TIMES: f"{lease},{heartbeat}"}):
        async with made.app:
            yield made
    made.writer.close()
