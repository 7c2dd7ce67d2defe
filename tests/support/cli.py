"""Runs commands within the test's process, on a database with tasks in every state."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from support.apps import make_app
from support.workers import TIMES
from xqueue_core import Context, XQueue
from xqueue_core.abc import Role
from xqueue_core.calls import Beat, Settle, Want
from xqueue_core.cli.group import xqueue
from xqueue_core.task import HandBack
from xqueue_core.worker import Worker

#: The app of these tests, as commands import it: its tasks are run by :func:`work`.
JOBS = """
from support.cli import declare
from xqueue_core import XQueue

app = declare(XQueue())
"""


def declare(app: XQueue) -> XQueue:
    """Give an app the types of these tests, and two schedules."""

    @app.task(max_retry=0)
    async def greet(name: str) -> str:
        return f"hello {name}"

    @app.task(max_retry=0)
    async def broken(text: str = "no such thing") -> None:
        raise ValueError(text)

    @app.cron("0 9 * * *", name="morning", kwargs={"name": "sun"})
    @app.task(name="report", max_concurrency=3, priority=4)
    async def report(ctx: Context, name: str) -> str:
        return name

    return app


class Place:
    """A working folder with `jobs.py` and, once something is submitted, a database.

    Args:
        folder: it must be the working folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "xqueue.db"
        (folder / "jobs.py").write_text(JOBS)

    @property
    def url(self) -> str:
        """The database's URL."""
        return f"sqlite:///{self.file}"

    def do(self, work: Callable[[XQueue], Coroutine[Any, Any, Any]]) -> Any:
        """What ``work`` gives, with the app open."""

        async def main() -> Any:
            async with declare(make_app(self.url)) as app:
                return await work(app)

        return asyncio.run(main())

    def submit(self, type: str, /, **arguments: Any) -> str:
        """Submit a task; its id. ``options`` are those of the task."""
        options = arguments.pop("options", {})

        async def work(app: XQueue) -> str:
            from xqueue_core.client.handler import Submitter

            spec = app.handlers[type]
            submitter: Submitter[..., Any] = Submitter(app._client, spec, spec.options)
            return (await submitter.options(**options).submit(**arguments)).id

        return str(self.do(work))

    def beat(self, *workers: str, **more: Any) -> None:
        """Let these workers send a heartbeat each, and never another; their lease is long."""

        async def work(app: XQueue) -> None:
            async with app.connect(Role.WORKER) as connection:
                for worker in workers:
                    beat = Beat(worker=worker, **{"lease": 600.0, "slots": 5, **more})
                    await connection.faces.queue.extend(beat, [])

        self.do(work)

    def lease(self, lane: str, worker: str = "hand~1") -> list[str]:
        """Let a worker take a task of the lane, and do nothing with it; its id."""

        async def work(app: XQueue) -> list[str]:
            async with app.connect(Role.WORKER) as connection:
                wants = [Want(lane, 1)]
                leased = await connection.faces.queue.lease(wants, 1, 1, worker, 0.0)
            return [one.task.id for one in leased.deliveries]

        self.beat(worker)
        return list(self.do(work))

    def hand_back(self, lane: str, reason: str, worker: str = "hand~1") -> None:
        """Let a worker take a task of the lane, and give it back."""

        async def work(app: XQueue) -> None:
            async with app.connect(Role.WORKER) as connection:
                queue = connection.faces.queue
                leased = await queue.lease([Want(lane, 1)], 1, 1, worker, 0.0)
                back = HandBack(ran=True, reason=reason)
                await queue.settle(
                    [Settle(one.task.id, one.token, back) for one in leased.deliveries]
                )

        self.beat(worker)
        self.do(work)

    def work(self) -> None:
        """Run what there is, until nothing is left to do."""

        async def work(app: XQueue) -> None:
            await Worker(app, burst=True, name="tester", **TIMES).run()

        self.do(work)


def run(*arguments: str, input: str | None = None, code: int | None = 0) -> Result:
    """What a command answers; its exit code must be ``code``, if that is not None."""
    answer = CliRunner().invoke(xqueue, arguments, input=input)
    if answer.exception is not None and not isinstance(answer.exception, SystemExit):
        raise answer.exception
    assert code is None or answer.exit_code == code, answer.output
    return answer


def data(*arguments: str, input: str | None = None, code: int | None = 0) -> Any:
    """The JSON document that a command prints if it is asked for one."""
    return json.loads(run(*arguments, "--json", input=input, code=code).stdout)


def lines(*arguments: str, code: int | None = 0) -> list[str]:
    """The lines of text that a command prints."""
    return run(*arguments, code=code).stdout.splitlines()


def refused(*arguments: str, code: int, says: str, input: str | None = None) -> None:
    """It fails with this code and one line that says so, and prints no traceback."""
    answer = run(*arguments, code=code, input=input)
    assert says in answer.stderr, answer.stderr
    assert "Traceback" not in answer.output
    errors = [one for one in answer.stderr.splitlines() if one.startswith("Error: ")]
    assert len(errors) == 1, answer.stderr
