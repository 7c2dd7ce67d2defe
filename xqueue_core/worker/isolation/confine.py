"""What bounds a child process, set by itself before it loads any code of the user's."""

from __future__ import annotations

import ctypes
import fcntl
import os
import resource
import signal
import sys
from contextlib import suppress

from xqueue_core.errors import ConfigError

#: From ``linux/prctl.h``.
PR_SET_PDEATHSIG = 1
#: Tells a child that its parent has ended; nobody else uses it, most likely.
ORPHANED = signal.SIGRTMAX if sys.platform == "linux" else signal.SIGHUP
#: Added to what decides whom the kernel ends first when memory runs out (it goes to 1000).
OOM_SCORE = 500


def end_with_parent(life: int, parent: int) -> None:
    """End when the parent ends, however it ends, with whatever was started from here.

    ``life`` is the read end of a pipe that the parent holds the other end of. The kernel is asked
    to kill this process group when that closes: no Python need run for it, so that it also ends
    a call that holds the interpreter's lock. (This is asynchronous I/O of fcntl(2).)

    Should another process have inherited that end, the kernel also tells when the parent itself
    ends, or rather the *thread* of it that spawned this (PR_SET_PDEATHSIG of prctl(2)). That must
    not be SIGKILL: a thread may end before the pipe is closed, and with this process the kernel
    would forget whom to kill then, so that what was started from here would live on.
    """
    os.set_inheritable(life, False)
    if sys.platform == "linux":
        signal.signal(ORPHANED, lambda *_: os.killpg(0, signal.SIGKILL))
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(ORPHANED))
        fcntl.fcntl(life, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(life, fcntl.F_SETOWN, -os.getpgrp())
        fcntl.fcntl(life, fcntl.F_SETFL, fcntl.fcntl(life, fcntl.F_GETFL) | os.O_ASYNC)
    if os.getppid() != parent:
        os._exit(1)


def be_taken_first() -> None:
    """Let the kernel end this process before its worker when memory runs out."""
    path = "/proc/self/oom_score_adj"
    with suppress(OSError, ValueError), open(path, "r+") as file:
        score = min(1000, int(file.read()) + OOM_SCORE)
        file.seek(0)
        file.write(str(score))


def ignore_requests_to_stop() -> None:
    """Leave it to the worker when this process ends.

    A service manager signals every process of a service, and the task is to have its grace time.
    Not by SIG_IGN, which programs started from here would inherit.
    """
    for one in (signal.SIGTERM, signal.SIGINT):
        signal.signal(one, lambda *_: None)


def check_memory_limit() -> None:
    """Raise ConfigError if this system cannot limit memory."""
    if sys.platform != "linux":
        raise ConfigError("max_memory needs Linux: elsewhere nothing limits a process's memory")


def limit_memory(most: int | None) -> None:
    """Let this process allocate so many bytes; None for what it was started with.

    RLIMIT_DATA counts what is private and writable: the heap, anonymous mappings, the stacks of
    threads. RLIMIT_AS would count address space as well that is only reserved, of which
    libraries with many threads take gigabytes. Neither counts memory shared with others.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    soft = hard if most is None else most
    if hard != resource.RLIM_INFINITY:
        soft = min(soft, hard) if soft != resource.RLIM_INFINITY else hard
    resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
