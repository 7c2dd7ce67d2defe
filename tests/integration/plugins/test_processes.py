"""Several worker processes of one host, each with a port for Prometheus."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import urllib.request
from pathlib import Path

import pytest

from support import worker_app
from support.processes import worker
from support.workers import until

pytestmark = pytest.mark.anyio

#: How many processes.
COUNT = 2


def free_ports() -> int:
    """The first of so many ports in a row that nobody listens at just now."""
    for first in range(20_000 + os.getpid() % 10_000, 60_000, COUNT):
        try:
            for port in range(first, first + COUNT):
                with socket.socket() as one:
                    one.bind(("127.0.0.1", port))
        except OSError:
            continue
        return first
    raise AssertionError("no ports are free")


def scraped(port: int) -> dict[str, float]:
    """The samples there, without their labels' order in mind; none if nobody answers."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            text = answer.read().decode()
    except OSError:
        return {}
    return {
        name: float(value) for name, value in re.findall(r"^(\w\S*) (\S+)$", text, re.MULTILINE)
    }


async def every(first: int) -> list[dict[str, float]]:
    """What each process shows; empty unless all of them work."""
    ports = range(first, first + COUNT)
    found = [await asyncio.to_thread(scraped, port) for port in ports]
    return found if all(one.get("xqueue_workers") == 1 for one in found) else []


async def test_each_process_has_a_port_and_so_has_the_one_that_replaces_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, log = f"sqlite:///{tmp_path / 'tasks.db'}", tmp_path / "handlers.log"
    first = free_ports()
    monkeypatch.setenv("XQUEUE_PLUGINS", "prometheus")
    monkeypatch.setenv("XQUEUE_PROMETHEUS__PORT", str(first))
    with worker(url, log, "--processes", str(COUNT)) as process:
        await until("all processes show metrics", lambda: every(first), 30, every=0.2)
        monkeypatch.setenv("XQUEUE_PLUGINS", "")
        async with worker_app.make(url) as app:
            handles = await asyncio.gather(*(app.submit("nap", seconds=0) for _ in range(40)))
            for handle in handles:
                await handle.result(20)
        await until("all are counted", lambda: counted(first), 20, every=0.2)
        killed = int(re.findall(r"started worker process (\d+)", process.log())[0])
        os.kill(killed, signal.SIGKILL)
        await until(
            "another is started", lambda: process.log().count("started worker") == COUNT + 1, 30
        )
        await until("all show metrics again", lambda: every(first), 30, every=0.2)
        process.send()
        assert await process.ended(30) == 0


async def counted(first: int) -> bool:
    """True when all attempts are counted, by all processes together."""
    found = await every(first)
    return sum(one.get('xqueue_starts_total{type="nap"}', 0) for one in found) == 40
