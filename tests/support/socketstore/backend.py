"""The backend over the socket, its server's process, and the harness of both."""

from __future__ import annotations

import asyncio
import atexit
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from support.socketstore.client import Pool, PoolFactory, SocketBell, SocketRecords
from xqueue_core.abc import Backend, Faces, Role
from xqueue_core.calls import Capabilities
from xqueue_core.conformance import BackendHarness
from xqueue_core.stored import faces
from xqueue_core.stored.records import ANY, Change, Group
from xqueue_core.stored.settings import StoredSettings


class SocketSettings(StoredSettings):
    """Where the server listens."""

    host: str = "127.0.0.1"
    port: int


class SocketBackend(Backend):
    """XQueue on the server of :mod:`.server`.

    Args:
        pool: makes the connections.
    """

    Settings = SocketSettings

    def __init__(self, pool: PoolFactory = Pool) -> None:
        self._pool = pool

    def capabilities(self, settings: SocketSettings) -> Capabilities:
        return Capabilities(dedupe_horizon=settings.dedupe_horizon)

    @asynccontextmanager
    async def open(
        self, settings: SocketSettings, role: Role = Role.CLIENT
    ) -> AsyncIterator[Faces]:
        pool = self._pool((settings.host, settings.port), settings.namespace)
        try:
            records = SocketRecords(pool)
            await records.now()
            yield faces(records, SocketBell(pool), settings.options(), self.capabilities(settings))
        finally:
            pool.close()


class Broker:
    """The server's process, started when it is first needed. It ends with this one."""

    def __init__(self, *, lazy: bool = False) -> None:
        # Bound but not listening: nobody else is given the port, whether or not a server runs.
        self._reserved = socket.socket()
        self._reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._reserved.bind(("127.0.0.1", 0))
        self.port: int = self._reserved.getsockname()[1]
        self._folder = Path(tempfile.mkdtemp(prefix="xqueue-socket-"))
        self._lazy = ["lazy"] if lazy else []
        self._process: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()
        atexit.register(self.remove)

    def needed(self) -> None:
        """Start it unless it runs."""
        with self._lock:
            if self._process is None:
                self._start()

    def restart(self) -> None:
        """End it as SIGKILL does, and start it again."""
        with self._lock:
            self._kill()
            self._start()

    def remove(self) -> None:
        """End it for good."""
        atexit.unregister(self.remove)
        with self._lock:
            self._kill()
        self._reserved.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _start(self) -> None:
        command = [sys.executable, "-m", "support.socketstore.server"]
        command += [str(self.port), str(self._folder / "journal"), *self._lazy]
        path = os.pathsep.join(one for one in sys.path if one)
        self._process = subprocess.Popen(
            command, env={**os.environ, "PYTHONPATH": path}, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        said = self._process.stdout.readline()
        assert said == "ready\n", said

    def _kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            if self._process.stdout is not None:
                self._process.stdout.close()
            self._process = None


class SocketHarness(BackendHarness):
    """A harness with everything that a real server allows."""

    def __init__(self, broker: Broker | None = None, pool: PoolFactory = Pool) -> None:
        self.broker = broker or Broker()
        port = self.broker.port

        def settings(namespace: str, changes: Mapping[str, Any]) -> SocketSettings:
            return SocketSettings.model_validate({"namespace": namespace, "port": port, **changes})

        super().__init__(
            SocketBackend(pool),
            settings,
            name="socket",
            server=("127.0.0.1", port),
            child=(f"{__name__}:joined", str(port)),
        )

    @asynccontextmanager
    async def open(self, namespace: str, settings: Mapping[str, Any]) -> AsyncIterator[Faces]:
        """Open it; the first time the server is started."""
        await asyncio.to_thread(self.broker.needed)
        async with super().open(namespace, settings) as opened:
            yield opened

    async def restart(self) -> None:
        """SIGKILL, and a new process with the same journal."""
        await asyncio.to_thread(self.broker.restart)

    @asynccontextmanager
    async def fill(self) -> AsyncIterator[None]:
        """No row more than there are."""
        await self._tell("fill", True)
        try:
            yield
        finally:
            await self._tell("fill", False)

    async def flush(self) -> None:
        """The numbers of the operations hold no longer."""
        await self._tell("flush")

    async def _tell(self, request: str, *args: Any) -> None:
        pool = Pool(("127.0.0.1", self.broker.port), "")
        try:
            await pool.send(request, list(args))
        finally:
            pool.close()

    async def corrupt(self, namespace: str, id: str) -> None:
        """Write bytes that are no MessagePack where the task's record was."""
        pool = Pool(("127.0.0.1", self.broker.port), namespace)
        records = SocketRecords(pool)
        [row] = await records.load([f"t/{id}"])
        assert row is not None
        await records.swap([Group([Change(row.key, ANY, b"R\xc1\xc1", row.bucket, row.order)])])
        pool.close()


class _Running(Broker):
    """A server that another process has started."""

    def __init__(self, port: int) -> None:
        self.port = port

    def needed(self) -> None:
        pass


def joined(port: str) -> SocketHarness:
    """The harness in another process, over the server that runs."""
    return SocketHarness(_Running(int(port)))
