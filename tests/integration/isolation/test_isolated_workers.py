"""Workers with isolated handlers: how they start, stop, and die."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from support import isolated_app
from support.hosts import Hosted, hosted
from support.processes import Cli, alive, cli, notes
from support.workers import until
from xqueue_core import ConfigError, State, XQueue
from xqueue_core.worker import Worker
from xqueue_core.worker.isolation.home import home_of

pytestmark = pytest.mark.anyio

on_sqlite = pytest.mark.parametrize("url", ["sqlite"], indirect=True)


async def pids(log: Path, count: int) -> list[int]:
    """The processes that handlers have noted: their own, and what they have started."""

    def found() -> list[int]:
        return [int(pid) for line in notes(log) for pid in line.split()[2:]]

    await until(f"{count} processes", lambda: len(found()) >= count)
    return found()


def worker(url: str, log: Path, *arguments: str) -> Any:
    """A worker process of the command line."""
    return cli(url, log, "worker", "support.isolated_app:app", *arguments)


# -- starting --------------------------------------------------------------------------------


async def failing(app: XQueue, host: str = "asyncio") -> str:
    """Why a worker does not start."""
    one = Hosted(app, host)
    one.start()
    error = await one.ended()
    assert isinstance(error, ConfigError), error
    return str(error)


async def test_an_app_that_a_child_cannot_import(
    app: XQueue, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(isolated_app.BROKEN, "broken on purpose")
    words = await failing(app, host)
    assert "cannot load support.isolated_app: RuntimeError: broken on purpose" in words
    assert "raise RuntimeError(os.environ[BROKEN])" in words


async def test_a_type_that_a_child_does_not_find(app: XQueue) -> None:
    @app.task(isolation="process")
    def local() -> None: ...

    words = await failing(app)
    assert "imports 'support.isolated_app:app' and finds no isolated type 'local'" in words
    assert "not in a function that is called later" in words


def test_an_app_in_no_module() -> None:
    app = isolated_app.make("memory://")
    with pytest.raises(ConfigError, match=r"write `app = XQueue.* at the top level of a module"):
        Worker(app)


async def test_a_child_that_dies_while_it_starts(
    app: XQueue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text("import os; os._exit(3)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert "exited with code 3" in await failing(app)


async def test_where_a_child_finds_the_app(app: XQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    specs = [app.handlers["add"]]
    home = home_of(app, specs)
    assert (home.app, home.modules) == ("support.isolated_app:app", ["support.isolated_app"])
    app._place = "elsewhere:app"  # the command line knows best
    assert home_of(app, specs).app == "elsewhere:app"


SCRIPT = """
import asyncio, os
from support.apps import make_app
from xqueue_core.worker import Worker

print("loaded", __name__, flush=True)
app = make_app(os.environ["SCRIPT_URL"], children=1)

@app.task(isolation="process")
async def where(n: int) -> list:
    return [__name__, os.getppid()]

async def main():
    worker = Worker(app)
    running = asyncio.create_task(worker.run())
    name, parent = await (await where.submit(1)).result(20)
    print("ran in", name, parent == os.getpid(), flush=True)
    worker.stop()
    await running

if __name__ == "__main__":
    asyncio.run(main())
"""


@on_sqlite
def test_a_script_with_its_own_worker(url: str, tmp_path: Path) -> None:
    script = tmp_path / "my_script.py"
    script.write_text(SCRIPT)
    path = os.pathsep.join(one for one in sys.path if one)
    done = subprocess.run(
        [sys.executable, str(script)],
        env={**os.environ, "PYTHONPATH": path, "SCRIPT_URL": url},
        capture_output=True,
        text=True,
        timeout=40,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "loaded __main__"
    assert set(lines[1:-1]) == {"loaded my_script"}
    assert lines[-1] == "ran in my_script True"


CLI_APP = """
import logging
from support.apps import make_app

tasks = make_app("sqlite:///nowhere.db")

@tasks.task(isolation="process")
async def first() -> str:
    logging.getLogger("mine").info("logged in the child")
    print("printed in the child")
    return (await second.submit()).id

@tasks.task
async def second() -> None: ...
"""


@on_sqlite
async def test_a_worker_of_the_command_line(app: XQueue, url: str, log: Path) -> None:
    """A child uses the broker and the log level of its worker's flags, and the file it ran."""
    file = log.with_name("cli_app.py")
    file.write_text(CLI_APP)
    with cli(url, log, "worker", f"{file}:tasks", "--url", url, "--burst") as process:
        client = declared(app)
        handle = await client["first"].submit()
        id = await handle.result(30)
        await app.handle(id).result(30)
        assert await process.ended() == 0
        assert process.process.stdout is not None
        assert process.process.stdout.read() == b"printed in the child\n"
        assert "INFO    mine: logged in the child" in process.log()
    assert not file.with_name("nowhere.db").exists()


def declared(app: XQueue) -> dict[str, Any]:
    """The types of that app, to submit to."""

    @app.task
    async def first() -> str:
        raise AssertionError

    @app.task
    async def second() -> None: ...

    return {"first": first, "second": second}


# -- stopping --------------------------------------------------------------------------------


async def test_a_stop_waits_for_children(app: XQueue, host: str, log: Path) -> None:
    one = Hosted(app, host, grace=20.0)
    one.start()
    handle = await app.submit("sleep", seconds=0.7)
    [pid] = await pids(log, 1)
    one.worker.stop()
    assert await one.ended() is None
    assert await handle.result(5) == pid
    await until("the child ends", lambda: not alive(pid), 5)


@on_sqlite
async def test_what_outlives_the_grace_time_is_killed_and_handed_back(
    app: XQueue, host: str, log: Path
) -> None:
    async with hosted(app, host, grace=0.3) as one:
        handle = await app.submit("spin")
        [pid] = await pids(log, 1)
        one.worker.stop()
        assert await one.ended() is None
        assert not alive(pid)
        assert not one.worker.abandoned
        info = await handle.info()
        assert (info.state, info.history[-1].how) == (State.PENDING, "handback")


@on_sqlite
async def test_children_die_with_a_worker_that_is_killed(app: XQueue, url: str, log: Path) -> None:
    with worker(url, log) as process:
        for name in ("hold_gil", "breed"):
            await app.submit(name)
        running = await pids(log, 3)
        assert all(map(alive, running))
        started = time.monotonic()
        process.send(signal.SIGKILL)
        await until("all of them end", lambda: not any(map(alive, running)), 2)
        assert time.monotonic() - started < 2
        await until("so do the idle ones", lambda: not children_of(process), 2)


def children_of(process: Cli) -> list[str]:
    """The command lines of the child processes that this worker has left."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            line = (folder / "cmdline").read_bytes() if folder.name.isdigit() else b""
        except OSError:
            continue
        parent = f", {process.process.pid})".encode()
        if b"xqueue_core.worker.isolation.child" in line and line.rstrip(b"\0").endswith(parent):
            found.append(line.decode())
    return found


@on_sqlite
async def test_a_signal_to_the_whole_service_leaves_tasks_their_grace_time(
    app: XQueue, url: str, log: Path
) -> None:
    with worker(url, log, "--grace", "20") as process:
        handle = await app.submit("sleep", seconds=1.0)
        [pid] = await pids(log, 1)
        os.kill(pid, signal.SIGTERM)  # as a service manager does
        process.send(signal.SIGTERM)
        assert await handle.result(20) == pid
        assert await process.ended() == 0


async def test_max_memory_needs_linux(app: XQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xqueue_core.worker.isolation.confine.sys.platform", "darwin")
    with pytest.raises(ConfigError, match="max_memory needs Linux"):
        Worker(app)
