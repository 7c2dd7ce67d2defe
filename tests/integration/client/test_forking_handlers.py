"""Plain handlers that start processes in every way there is, several at once in one worker."""

from __future__ import annotations

import multiprocessing
import os
import pty
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from support.apps import make_app
from support.forks import FORK_WARNING, Child
from support.plain import background

pytestmark = [
    pytest.mark.filterwarnings(FORK_WARNING),
    # A pty's child is forked by C code, of which some interpreters tell in another way.
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*forkpty.*:DeprecationWarning"),
]

EACH = 4


def by_fork(main: Callable[[], object]) -> int | None:
    """As most do."""
    return Child(main).join(50)


def by_multiprocessing(main: Callable[[], object]) -> int | None:
    """The standard library's, by its start method of old."""
    process = multiprocessing.get_context("fork").Process(target=main)
    process.start()
    process.join(50)
    return process.exitcode


def by_pty(main: Callable[[], object]) -> int | None:
    """With a terminal of its own."""
    pid, terminal = pty.fork()
    if pid == 0:
        code = 1
        try:
            main()
            code = 0
        finally:
            os._exit(code)
    with os.fdopen(terminal):
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def by_two_forks(main: Callable[[], object]) -> int | None:
    """As daemons do, but for the wait."""

    def first() -> None:
        os.setsid()
        assert Child(main).join(50) == 0

    return Child(first).join(60)


def by_subprocess(main: Callable[[], object]) -> int | None:
    """With Python code between fork and exec, and without."""
    main()
    quick = subprocess.run(["true"], check=False, timeout=50).returncode
    return (
        quick or subprocess.run(["true"], check=False, timeout=50, preexec_fn=os.getpid).returncode
    )


WAYS = [by_fork, by_multiprocessing, by_pty, by_two_forks, by_subprocess]


@pytest.mark.timeout(240)
def test_handlers_start_processes_in_every_way(tmp_path: Path) -> None:
    app = make_app(f"sqlite:///{tmp_path}/tasks.db")

    @app.task
    async def note(text: str) -> str:
        return text

    @app.task(max_retry=0)
    def start(way: int, n: int) -> int | None:
        def main() -> None:
            note.sync.options(id=f"{way}.{n}").submit("x" * 20_000)

        return WAYS[way](main)

    with background(app):
        names = [(way, n) for n in range(EACH) for way in range(len(WAYS))]
        handles = app.sync.submit_many(start.call(*name) for name in names)
        codes = [handle.result(timeout=100) for handle in handles]
        assert codes == [0] * len(names)
        for way, n in names:
            assert app.sync.handle(f"note:{way}.{n}").result(timeout=50)
    app.sync.close()
