"""Forked children of a test: each runs one function, and tells what came of it."""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable

#: What newer interpreters say of any fork in a process with threads, as every client has.
FORK_WARNING = "ignore:.*multi-threaded.*fork.*:DeprecationWarning"
#: The same for an interpreter of its own, whose options know no patterns: the beginning of that
#: text, less the process's id.
FORK_OPTION = ("-W", "ignore:This process (pid=:DeprecationWarning")

#: Longest life of a child (seconds).
LONGEST = 100


class Child:
    """A forked child that runs ``main`` and ends, without the parent's clean-up."""

    def __init__(self, main: Callable[[], object]) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            code = 1
            try:
                # One that hangs says where, and ends by itself even if nobody waits for it.
                signal.signal(signal.SIGALRM, signal.SIG_DFL)
                faulthandler.register(signal.SIGALRM, file=2, chain=True)
                signal.alarm(LONGEST)
                main()
                code = 0
            except BaseException:
                traceback.print_exc()
                sys.stderr.flush()
            finally:
                os._exit(code)

    def join(self, seconds: float = LONGEST + 10) -> int:
        """Its exit code. A child that does not end in time is killed: AssertionError."""
        end = time.monotonic() + seconds
        while True:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
            if time.monotonic() > end:
                os.kill(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)
                raise AssertionError(f"a child has not ended within {seconds} s")
            time.sleep(0.005)
