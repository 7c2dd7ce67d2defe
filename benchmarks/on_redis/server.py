"""The Redis server that is measured: one that is started here, or one that is given."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import redis

#: How a server is started: what it keeps through its own death.
PERSISTENCE = {
    "none": ("--save", "", "--appendonly", "no"),
    "everysec": ("--save", "", "--appendonly", "yes", "--appendfsync", "everysec"),
}
#: Seconds a server may take until it answers.
START = 10


@dataclass(frozen=True)
class Server:
    """A server whose database is ours alone."""

    url: str
    client: redis.Redis
    persistence: str

    def queue_url(self) -> str:
        """The URL for the queue, which refuses a server that keeps nothing unless told."""
        if int(self.client.info("persistence")["aof_enabled"]):
            return self.url
        return f"{self.url}{'&' if '?' in self.url else '?'}allow=persistence"

    def empty(self) -> None:
        """Remove all that is in the database."""
        self.client.flushdb()

    def cpu(self) -> float:
        """Seconds of CPU the server has used, all its threads and the kernel's share."""
        info = self.client.info("cpu")
        return float(info["used_cpu_user"]) + float(info["used_cpu_sys"])

    def memory(self) -> int:
        """Bytes that the server has allocated (``used_memory``)."""
        return int(self.client.info("memory")["used_memory"])

    def about(self) -> dict[str, str]:
        """What it is, for the report."""
        return {
            "redis": str(self.client.info("server")["redis_version"]),
            "persistence": self.persistence,
        }


@contextmanager
def server(url: str | None, persistence: str, kind: str | None = None) -> Iterator[Server]:
    """The given server, or one of our own on a free port, of a ``kind`` that the tests know.

    Raises SystemExit if there is none, or the given one's database is not empty: it is emptied
    between the runs, so nobody's data may be in it.
    """
    if url is None:
        with started(persistence, kind) as url, connected(url, persistence) as found:
            yield found
    else:
        with connected(url, "as given") as found:
            if keys := found.client.dbsize():
                raise SystemExit(
                    f"{url} holds {keys} keys, and its database would be emptied between the runs;"
                    f" name an empty one"
                )
            yield found


@contextmanager
def connected(url: str, persistence: str) -> Iterator[Server]:
    """A client for a server that runs; its database is emptied at the end."""
    with redis.Redis.from_url(url) as client:
        found = Server(url, client, persistence)
        yield found
        found.empty()


@contextmanager
def started(persistence: str, kind: str | None = None) -> Iterator[str]:
    """Start a server on this host alone; its URL."""
    program, environment = executable(kind)
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        place = ("--bind", "127.0.0.1", "--port", str(port), "--dir", folder)
        process = subprocess.Popen(
            [program, *place, *PERSISTENCE[persistence]],
            stdout=subprocess.DEVNULL,
            env=environment,
        )
        try:
            answers(url := f"redis://127.0.0.1:{port}/0")
            yield url
        finally:
            process.terminate()
            process.wait(timeout=60)


def executable(kind: str | None) -> tuple[str, Mapping[str, str]]:
    """The server's program and its environment: of this kind, as the tests have it, fetched if
    need be; or ``redis-server`` from the path. Raises SystemExit if there is none.
    """
    if kind is None:
        if (found := shutil.which("redis-server")) is not None:
            return found, os.environ
        raise SystemExit(
            "no redis-server in the path: install one, have one fetched by --server redis7, or "
            "name one: --url redis://..."
        )
    try:
        from services import program

        return str((fetched := program(kind)).path), fetched.environment
    except ModuleNotFoundError as error:
        text = "the tests are not in the path: run it as `make bench-redis` does, PYTHONPATH=tests"
        raise SystemExit(text) from error
    except (RuntimeError, ValueError) as error:
        raise SystemExit(str(error)) from error


def free_port() -> int:
    """A port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(url: str) -> None:
    """Wait until a server answers. Raises SystemExit if it does not in time."""
    until = time.monotonic() + START
    with redis.Redis.from_url(url) as client:
        while time.monotonic() < until:
            with suppress(redis.ConnectionError):
                client.ping()
                return
            time.sleep(0.02)
    raise SystemExit(f"{url} has not answered within {START} s")
