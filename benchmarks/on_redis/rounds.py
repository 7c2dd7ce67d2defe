"""One round each of the raw client and of the queue, on an empty database, as figures by name."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass

from benchmarks.figures import percentiles
from benchmarks.on_redis import ours
from benchmarks.on_redis.raw import ANSWERS, BODY, STREAM
from benchmarks.on_redis.server import Server
from benchmarks.programs import ProgramFailed, Run, run

#: The module of the raw client's programs that run on event loops.
ASYNCIO = "raw_asyncio"
#: Seconds that one program may take.
PATIENCE = 300


@dataclass(frozen=True, slots=True)
class Size:
    """How much one round does."""

    count: int  # tasks in bulk and drained
    single: int  # tasks one by one
    samples: int  # pick-ups


def raw_command(server: Server, action: str, count: int, kind: str = "raw") -> list[str]:
    """The command line of one of the raw client's programs, ``kind`` being its module."""
    module = f"benchmarks.on_redis.{kind}"
    return [sys.executable, "-m", module, action, server.url, str(count)]


def raw_program(server: Server, action: str, count: int, kind: str = "raw") -> Run:
    """Run one of the raw client's programs."""
    return run(raw_command(server, action, count, kind), ours.environ(server.url), PATIENCE)


def raw_round(server: Server, size: Size) -> dict[str, float]:
    """What redis-py alone does."""
    server.empty()
    submit = raw_program(server, "submit", size.count)
    before = server.cpu()
    drain = raw_program(server, "worker", size.count)
    redis_us = (server.cpu() - before) * 1e6 / size.count
    server.empty()
    single = raw_program(server, "single", size.single)
    server.empty()
    on_a_loop = raw_program(server, "single", size.single, ASYNCIO)
    server.empty()
    waits = percentiles(raw_waits(server, size.samples))
    server.empty()
    waits_on_a_loop = percentiles(raw_waits_asyncio(server, size.samples))
    return {
        **phases(submit, single, drain, redis_us),
        "single (asyncio)": on_a_loop.rate,
        "single cpu (asyncio)": on_a_loop.cpu_us,
        **waits,
        "p50 (asyncio)": waits_on_a_loop["p50"],
    }


def phases(submit: Run, single: Run, drain: Run, redis_us: float) -> dict[str, float]:
    """Rates, and CPU per task of each program."""
    return {
        "submit": submit.rate,
        "single": single.rate,
        "drain": drain.rate,
        "submit cpu": submit.cpu_us,
        "single cpu": single.cpu_us,
        "worker cpu": drain.cpu_us,
        "redis cpu": redis_us,
    }


def raw_waits(server: Server, samples: int) -> list[float]:
    """Milliseconds from before an XADD to the moment a blocked reader in another process has it."""
    command = raw_command(server, "clock", samples)
    reader = subprocess.Popen(command, env=ours.environ(server.url))
    waits = []
    try:
        answer(server)  # it is there
        for _ in range(samples):
            time.sleep(0.02)  # it waits again
            began = time.monotonic_ns()
            server.client.xadd(STREAM, BODY)
            waits.append((answer(server) - began) / 1e6)
    finally:
        reader.terminate()
        reader.wait(timeout=60)
    return waits


def raw_waits_asyncio(server: Server, samples: int) -> list[float]:
    """The same where both ends are on event loops. Raises ProgramFailed if the program does."""
    command = raw_command(server, "clock", samples, ASYNCIO)
    reader = subprocess.Popen(command, env=ours.environ(server.url))
    try:
        return printed(raw_command(server, "waits", samples, ASYNCIO), server.url)
    finally:
        reader.terminate()
        reader.wait(timeout=60)


def answer(server: Server) -> int:
    """The reader's next answer. Raises ProgramFailed if none comes."""
    found = server.client.blpop([ANSWERS], timeout=30)
    if found is None:
        raise ProgramFailed("the raw reader has not answered within 30 s")
    return int(found[1])


def our_round(server: Server, size: Size) -> dict[str, float]:
    """What the queue does, with full state tracking."""
    url = server.queue_url()
    env = ours.environ(url, size.count)
    server.empty()
    submit = run(ours.program("submit", url, size.count), env, PATIENCE)
    before = server.cpu()
    drain = run(ours.worker("--burst"), env, PATIENCE)
    redis_us = (server.cpu() - before) * 1e6 / size.count
    server.empty()
    single = run(ours.program("single", url, size.single), env, PATIENCE)
    server.empty()
    return {**phases(submit, single, drain, redis_us), **percentiles(our_waits(url, size.samples))}


def our_waits(url: str, samples: int) -> list[float]:
    """Milliseconds of each pick-up. Raises ProgramFailed if the program does."""
    return printed(ours.program("clock", url, samples), url)


def printed(command: list[str], url: str) -> list[float]:
    """The numbers that a program prints. Raises ProgramFailed if the program does."""
    ended = subprocess.run(command, env=ours.environ(url), capture_output=True, text=True)
    if ended.returncode:
        raise ProgramFailed(ended.stderr[-2_000:])
    waits: list[float] = json.loads(ended.stdout.splitlines()[-1])
    return waits
