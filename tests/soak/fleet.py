"""Worker processes that the harness spawns, kills, stops and replaces, and what it notes of it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from soak.app import ISOLATED, LEASE
from soak.brokers import Broker
from support.history.events import (
    AnyEvent,
    Continued,
    Ended,
    Gone,
    Killed,
    OutageBegan,
    OutageEnded,
    Started,
    Stopped,
)
from support.history.writer import Reader, Writer, now
from support.processes import LOG, URL, alive

#: Handlers' event loops; the workers take turns.
LOOPS = ("asyncio", "uvloop")


@dataclass(slots=True, frozen=True)
class Place:
    """Where a run happens."""

    folder: Path
    broker: Broker
    lease: float
    isolated: bool = False

    @property
    def history(self) -> Path:
        """What everybody writes to."""
        return self.folder / "history.jsonl"


class Tail:
    """Follows the history: which runs each worker's process has, as handlers tell it."""

    def __init__(self, path: Path, writer: Writer) -> None:
        self._reader = Reader(path)
        self._writer = writer
        self._runs: dict[tuple[str, int], Started] = {}
        self._by_pid: dict[int, int] = {}
        self._children: dict[int, float] = {}  # isolated: when each was last seen alive
        self.began: set[int] = set()  # pids of workers that have started something

    def look(self) -> None:
        """Read what is new, and see which isolated children are gone."""
        for event in self._reader.more():
            self._follow(event)
        for pid, seen in list(self._children.items()):
            at = now()
            if alive(pid):
                self._children[pid] = at
            else:
                del self._children[pid]
                self._writer.write(Gone(at=at, pid=pid, alive=seen))

    def _follow(self, event: AnyEvent) -> None:
        if isinstance(event, Started):
            self.began.add(event.pid)
            self._runs[event.id, event.token] = event
            self._by_pid[event.pid] = self._by_pid.get(event.pid, 0) + 1
            if event.child:
                self._children[event.child] = event.at
        elif isinstance(event, Ended):
            run = self._runs.pop((event.id, event.token), None)
            if run is not None:
                self._by_pid[run.pid] -= 1

    async def orphans(self, seconds: float) -> list[int]:
        """Isolated children that still live so long after all workers have ended."""
        end = now() + seconds
        while True:
            self.look()
            if not self._children or now() > end:
                return list(self._children)
            await asyncio.sleep(0.05)

    def running(self, pid: int) -> int:
        """How many handlers run there."""
        return self._by_pid.get(pid, 0)

    def forget(self, pid: int) -> None:
        """The process is dead."""
        self._by_pid.pop(pid, None)
        for place in [place for place, run in self._runs.items() if run.pid == pid]:
            del self._runs[place]


@dataclass(slots=True, eq=False)
class Member:
    """One worker process."""

    process: subprocess.Popen[bytes]
    stopped: bool = False

    @property
    def pid(self) -> int:
        """Its pid."""
        return self.process.pid


@dataclass(slots=True, frozen=True)
class Leaver:
    """A worker process that has ended by itself: its exit code, and when that was seen."""

    pid: int
    code: int
    at: float


@dataclass(slots=True)
class Fleet:
    """``size`` workers. Every process it has started is dead when :meth:`end` returns."""

    place: Place
    size: int
    concurrency: int
    writer: Writer
    members: list[Member] = field(default_factory=list)
    spawned: int = 0
    unasked: list[Leaver] = field(default_factory=list)

    def fill(self) -> None:
        """Start what is missing."""
        for member in [one for one in self.members if one.process.poll() is not None]:
            self.members.remove(member)
            self.unasked.append(Leaver(member.pid, member.process.returncode, now()))
            if len(self.unasked) > 2 * self.size:
                raise RuntimeError(f"workers end by themselves:\n{self.log()[-4000:]}")
        while len(self.members) < self.size:
            self.members.append(Member(self._spawn()))

    @property
    def _log(self) -> Path:
        return self.place.folder / "workers.log"

    def log(self) -> str:
        """What all workers have logged."""
        return self._log.read_text(errors="replace")

    def _spawn(self) -> subprocess.Popen[bytes]:
        self.spawned += 1
        env = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(one for one in sys.path if one),
            URL: self.place.broker.url,
            LOG: str(self.place.history),
            LEASE: str(self.place.lease),
            ISOLATED: str(int(self.place.isolated)),
        }
        command = [sys.executable, "-m", "xqueue_core.cli", "worker", "soak.app:app"]
        command += ["--loop", LOOPS[self.spawned % len(LOOPS)]]
        with self._log.open("ab") as log:
            return subprocess.Popen(
                [*command, "--concurrency", str(self.concurrency), "--log-level", "INFO"],
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,
            )

    def awake(self) -> Iterator[Member]:
        """Those that run."""
        return (one for one in self.members if not one.stopped and one.process.poll() is None)

    def kill(self, member: Member) -> None:
        """SIGKILL, and wait until it is dead; it is replaced."""
        sent = now()
        member.process.kill()
        member.process.wait()
        self.writer.write(Killed(at=now(), sent=sent, pid=member.pid))
        self.members.remove(member)
        self.fill()

    async def stop(self, member: Member, seconds: float) -> bool:
        """SIGSTOP for so long; True if it held the broker, so that nobody could write."""
        member.stopped = True
        began = now()
        self.writer.write(Stopped(at=began, pid=member.pid))
        member.process.send_signal(signal.SIGSTOP)
        try:
            blocked = await asyncio.to_thread(self.place.broker.held)
            if blocked:
                self.writer.write(OutageBegan(at=began))
            await asyncio.sleep(began + seconds - now())
        finally:
            self.writer.write(Continued(at=now(), pid=member.pid))
            member.process.send_signal(signal.SIGCONT)
            member.stopped = False
        if blocked:
            self.writer.write(OutageEnded(at=now()))
        return blocked

    async def end(self, seconds: float = 20.0) -> list[int]:
        """Drain all; kill what does not end. Their exit codes."""
        for member in self.members:
            member.process.send_signal(signal.SIGCONT)
            member.process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(seconds):
                while any(one.process.poll() is None for one in self.members):
                    await asyncio.sleep(0.05)
        except TimeoutError:
            pass
        for member in self.members:
            if member.process.poll() is None:
                member.process.kill()
            member.process.wait()
        codes = [one.process.returncode for one in self.members]
        self.members.clear()
        return codes
