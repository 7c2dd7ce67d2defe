"""A server's process."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from services.certificates import Certificates
from services.programs import Program, program

#: Longest time for a start, and for an orderly end (seconds).
STARTING, ENDING = 10.0, 5.0
#: Runs a program that is killed when this process ends, however that ends.
_GUARDED = """
import ctypes, os, signal, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, int(signal.SIGKILL))
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.argv[2], sys.argv[2:])
"""


class Server:
    """A server that runs, until it is told otherwise.

    It must be started by the main thread: on Linux it ends with the thread that started it.

    Attributes:
        port: on 127.0.0.1; the same one after a restart.
        folder: where it keeps its data.
        program: what runs.
        version: as the program says itself.
    """

    def __init__(
        self,
        program: Program,
        folder: Path,
        configuration: Mapping[str, str],
        user: str = "",
        tls: Certificates | None = None,
        arguments: tuple[str, ...] = (),
    ) -> None:
        self.version = program.version
        self.folder = folder
        self.port = 0
        self.tls = tls
        self.program = program
        self._configuration = configuration
        self._user = user
        self._arguments = arguments
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Its URL, with user and password where it wants them."""
        user = f"{self._user}@" if self._user else ""
        scheme, query = (
            ("rediss", f"?ca_file={quote(str(self.tls.ca))}")
            if self.tls
            else (
                "redis",
                "",
            )
        )
        return f"{scheme}://{user}127.0.0.1:{self.port}/0{query}"

    @property
    def pid(self) -> int:
        """Of its process."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it, and wait until it answers.

        Raises:
            RuntimeError: it does not within ten seconds; the message has the end of its log.
        """
        for _ in range(3):
            port = self.port or _free_port()
            self._process = self._started(port)
            if self._answers(port):
                self.port = port
                return
            self.kill()
            if "Address already in use" not in self.log():
                break
        raise RuntimeError(f"{self.program.path} does not start:\n{self.log()[-2000:]}")

    def stop(self) -> None:
        """End it in order."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Kill it: it writes nothing any more."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Kill it, if it runs, and start it again with the data on disk."""
        self.kill()
        self.start()

    def pause(self) -> None:
        """Stop its process, so that it answers nothing and its connections stay."""
        self._send(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._send(signal.SIGCONT)

    def wait(self) -> None:
        """Wait until it answers, as it does not while it is paused.

        Raises:
            RuntimeError: it does not within ten seconds.
        """
        if not self._answers(self.port):
            raise RuntimeError(f"{self.program.path} does not answer:\n{self.log()[-2000:]}")

    def log(self) -> str:
        """What it has logged."""
        with suppress(FileNotFoundError):
            return (self.folder / "log").read_text("utf-8", "replace")
        return ""

    def _started(self, port: int) -> subprocess.Popen[bytes]:
        ports = {"port": "0", "tls-port": str(port)} if self.tls else {"port": str(port)}
        given = [
            word
            for name, value in {**self._configuration, **ports}.items()
            for word in (f"--{name}", *(value.split(" ") if value else [""]))
        ]
        command = [str(self.program.path), *self._arguments, *given]
        # By a program that then becomes the server, so that its id is the server's.
        guard = [sys.executable, "-S", "-c", _GUARDED]
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                [*guard, str(os.getpid()), *command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                env=dict(self.program.environment),
                start_new_session=True,  # an interrupt at the keyboard is for the tests
            )

    def _answers(self, port: int) -> bool:
        end = time.monotonic() + STARTING
        while time.monotonic() < end:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0) as asked:
                if self.tls:
                    return True
                asked.settimeout(1.0)
                asked.sendall(b"PING\r\n")
                if asked.recv(64).startswith((b"+PONG", b"-NOAUTH", b"-NOPERM")):
                    return True
            assert self._process is not None
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(0.02)
                return False  # it has ended
        return False

    def _send(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        self._send(number)
        self._send(signal.SIGCONT)  # it may have been paused
        try:
            self._process.wait(ENDING)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(ENDING)


@contextmanager
def redis(
    kind: str = "redis7",
    *,
    aof: bool = False,
    password: str = "",
    acl: str = "",
    user: str = "",
    maxmemory: str = "",
    tls: bool = False,
    **configuration: str,
) -> Iterator[Server]:
    """A server, which has ended behind the context.

    Args:
        kind: ``redis7``, ``redis8`` or ``valkey``.
        aof: it keeps its data in an append-only file, else not at all.
        password: it wants this one.
        acl: the text of its file of users.
        user: ``name:password`` for the URL, where ``acl`` is given.
        maxmemory: such as ``8mb``.
        tls: it speaks TLS alone, with a certificate for 127.0.0.1.
        configuration: more of it, with ``_`` for ``-``: ``maxmemory_policy="allkeys-lru"``.

    Raises:
        RuntimeError: it cannot be had, or does not start.
    """
    found = program(kind)
    with tempfile.TemporaryDirectory(prefix="xqueue-server-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        said = {
            "bind": "127.0.0.1",
            "dir": name,
            "logfile": str(folder / "log"),
            "save": "",
            "appendonly": "yes" if aof else "no",
            "unixsocket": str(folder / "socket"),
        }
        if password:
            said["requirepass"] = password
            user = user or f":{password}"
        if acl:
            (folder / "users.acl").write_text(acl, "utf-8")
            said["aclfile"] = str(folder / "users.acl")
        if maxmemory:
            said["maxmemory"] = maxmemory
        certificates = Certificates(folder) if tls else None
        if certificates:
            said |= certificates.configuration
        said |= {key.replace("_", "-"): value for key, value in configuration.items()}
        server = Server(found, folder, said, user, certificates)
        server.start()
        try:
            yield server
        finally:
            server.stop()


@contextmanager
def sentinel(primary: Server, name: str = "first") -> Iterator[Server]:
    """A sentinel that watches a primary, and by itself decides about a failover.

    Args:
        primary: a server without a password.
        name: what the sentinel calls it.

    Raises:
        RuntimeError: it does not start.
    """
    with tempfile.TemporaryDirectory(prefix="xqueue-server-", ignore_cleanup_errors=True) as place:
        folder = Path(place)
        file = folder / "sentinel.conf"  # it writes what it learns into it
        lines = (
            f"sentinel monitor {name} 127.0.0.1 {primary.port} 1",
            f"sentinel down-after-milliseconds {name} 1000",
            f"sentinel failover-timeout {name} 5000",
        )
        file.write_text("\n".join(lines) + "\n", "utf-8")
        said = {"bind": "127.0.0.1", "dir": place, "logfile": str(folder / "log")}
        server = Server(primary.program, folder, said, arguments=(str(file), "--sentinel"))
        server.start()
        try:
            yield server
        finally:
            server.stop()


def _free_port() -> int:
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        port: int = asked.getsockname()[1]
        return port
