"""The guardian of a supervisor: kills workers that outlive it, as code that holds the GIL does.

A program of its own, run by its file and without the rest of the package, so that it is small and
there soon. ``guardian.py SECONDS``: its standard input is a pipe from the supervisor, with a line
``+PID`` for each worker that was started and ``-PID`` for each that has ended. At the end of the
pipe, workers that are left have so many seconds to drain.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time


def main(seconds: float) -> None:
    """Guard until the supervisor is gone, then until its workers are."""
    for one in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(one, signal.SIG_IGN)
    workers: dict[int, int] = {}
    rest = b""
    while said := os.read(0, 1 << 16):
        *lines, rest = (rest + said).split(b"\n")
        for line in lines:
            heed(workers, line)
    wait(workers, time.monotonic() + seconds)
    for pid, fd in workers.items():
        kill(pid, fd)


def heed(workers: dict[int, int], line: bytes) -> None:
    """One line of the supervisor: a worker's process file descriptor is opened or closed."""
    pid = int(line[1:])
    if line[:1] == b"-":
        if pid in workers:
            os.close(workers.pop(pid))
        return
    try:
        workers[pid] = os.pidfd_open(pid)
    except OSError:
        return  # it has ended


def wait(workers: dict[int, int], until: float) -> None:
    """Wait for the end of all; those that ended are forgotten."""
    poll = select.poll()
    pids = {}
    for pid, fd in workers.items():
        pids[fd] = pid
        poll.register(fd, select.POLLIN)
    while workers and (left := until - time.monotonic()) > 0:
        for fd, _ in poll.poll(left * 1000.0):
            poll.unregister(fd)
            del workers[pids[fd]]


def kill(pid: int, fd: int) -> None:
    """End a worker, and what is in its process group: it leads one.

    The group first, for a worker that has not ended keeps its number from being used again.
    """
    if select.select([fd], [], [], 0.0)[0]:
        return
    try:
        if os.getpgid(pid) == pid:
            os.killpg(pid, signal.SIGKILL)
        signal.pidfd_send_signal(fd, signal.SIGKILL)
    except OSError:
        return  # it has ended


if __name__ == "__main__":
    main(float(sys.argv[1]))
