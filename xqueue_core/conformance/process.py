"""A real process that a case starts, stops and kills: the parent's side of :mod:`.child`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import IO, Any

import anyio

from xqueue_core.conformance.bench import Bench
from xqueue_core.conformance.check import Broken

#: Seconds, times the harness's ``time_scale``, within which a process answers.
ANSWERS = 15.0


class Process:
    """A worker of this case's namespace in another process.

    Attributes:
        worker: the id of its worker.
    """

    def __init__(self, bench: Bench, lease: float, errors: IO[bytes]) -> None:
        self.worker = ""
        self._scale = bench.scale
        self._errors = errors
        self._process = subprocess.Popen(  # noqa: S603 - the author's own arguments
            [
                *(sys.executable, "-m", "xqueue_core.conformance.child"),
                *(bench.namespace, str(lease), *bench.harness.child),
            ],
            # Whatever this process can import, whether or not it is installed.
            env={**os.environ, "PYTHONPATH": os.pathsep.join(one for one in sys.path if one)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
        )

    @classmethod
    @asynccontextmanager
    async def started(cls, bench: Bench, lease: float) -> AsyncIterator[Process]:
        """Start one, wait until it has registered, and kill it in the end, if it still lives."""
        with tempfile.TemporaryFile() as errors:
            process = cls(bench, lease, errors)
            try:
                process.worker = await process._answer()
                yield process
            finally:
                process._end()

    async def does(self, verb: str, *arguments: Any) -> Any:
        """Tell it to do something, and wait for its answer."""
        self._pipe(self._process.stdin).write(json.dumps([verb, *arguments]).encode() + b"\n")
        self._pipe(self._process.stdin).flush()
        return await self._answer()

    def kill(self) -> None:
        """End it as SIGKILL does."""
        self._process.kill()
        self._process.wait()

    async def stop(self) -> None:
        """Let it stand still from now on (SIGSTOP).

        Between two calls: one that stands still in the middle of a transaction of an embedded
        store holds up everybody, whatever the backend does. When it goes on it does only what it
        is told.
        """
        await self.does("rest")
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it run again (SIGCONT)."""
        self._process.send_signal(signal.SIGCONT)

    async def _answer(self) -> Any:
        read = partial(
            anyio.to_thread.run_sync,
            self._pipe(self._process.stdout).readline,
            abandon_on_cancel=True,
        )
        with anyio.move_on_after(ANSWERS * self._scale):
            if line := await read():
                return json.loads(line)
            self.kill()
        self._errors.seek(0)
        said = self._errors.read().decode(errors="replace").strip()
        raise Broken(f"the other process, {self._process.args!r}, did not answer\n{said}")

    def _end(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            # What could not be written to a process that is dead is of no interest.
            try:
                self._pipe(pipe).close()
            except BrokenPipeError:
                continue

    @staticmethod
    def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
        if pipe is None:
            raise RuntimeError("the process was started without pipes")
        return pipe
