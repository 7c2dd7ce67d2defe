"""One child process as its worker sees it: spawned, written to, killed, reaped.

Spawned, never forked: the worker has threads, and a fork would copy their locks in whatever
state they are. Each child leads a session of its own, so that it can be killed with all that it
has started, and a terminal's Ctrl-C does not reach it.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress

logger = logging.getLogger("xqueue.worker")

#: Runs in the child first. Where modules are found is known here, and need not be there.
BOOT = "import sys; sys.path[:] = {path!r}; {start}; main({wire}, {life}, {parent})"
START = "from xqueue_core.worker.isolation.child import main"


class Process:
    """A running child. Used in the thread that spawned it, which must live as long as it does.

    Attributes:
        pid: also the number of its session and its process group.
        wire: the socket, not blocking.
        pidfd: becomes readable when it has ended; -1 if the system has no such thing.
        foreign: it was told that another user's processes are left of it.
    """

    def __init__(self) -> None:
        """Raises OSError if the system has no room for another."""
        self.wire, theirs = socket.socketpair()
        # What nobody ever writes to: it closes when this process ends, however it ends.
        life, self._life = os.pipe()
        self._unsent = bytearray()
        self.foreign = False
        try:
            self._popen = subprocess.Popen(  # noqa: S603 - our own code
                _command(theirs.fileno(), life),
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(), life),
                start_new_session=True,
            )
        except BaseException:
            self.wire.close()
            os.close(self._life)
            raise
        finally:
            theirs.close()
            os.close(life)
        self.wire.setblocking(False)
        self.pid = self._popen.pid
        self.pidfd = -1
        if hasattr(os, "pidfd_open"):
            with suppress(OSError):
                self.pidfd = os.pidfd_open(self.pid)

    # -- talking -------------------------------------------------------------------------------

    @property
    def unsent(self) -> bool:
        """True if some of what was sent waits for room."""
        return bool(self._unsent)

    def send(self, data: bytes = b"") -> None:
        """Send, as far as there is room now; the rest when this is called again."""
        self._unsent += data
        while self._unsent:
            try:
                sent = self.wire.send(self._unsent)
            except BlockingIOError:
                return
            except OSError:  # it has ended; that is seen elsewhere
                self._unsent.clear()
                return
            del self._unsent[:sent]

    def received(self) -> Iterator[bytes]:
        """What is here to read; an empty piece is the end."""
        while True:
            try:
                data = self.wire.recv(1 << 16)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            yield data
            if not data:
                return

    # -- ending --------------------------------------------------------------------------------

    def kill(self) -> None:
        """End it and its process group, now."""
        _kill_group(self.pid)

    def ended(self) -> bool:
        """True if it has ended: for systems without a pidfd."""
        return self._popen.poll() is not None

    def swept(self) -> bool:
        """Kill whatever of its session is left; True if nothing was that can be killed.

        It has ended, itself. What may not be killed, as it runs for another user, is named once.
        """
        self.kill()
        left, foreign = 0, []
        for pid in _session(self.pid):
            try:
                os.kill(pid, signal.SIGKILL)
                left += 1
            except ProcessLookupError:  # a moment ago; perhaps not alone
                left += 1
            except PermissionError:
                foreign.append(pid)
        if foreign and not self.foreign:
            self.foreign = True
            logger.warning(
                "an isolated task has left processes of another user, which this worker may not "
                "kill: they run on (pid %s)",
                ", ".join(map(str, foreign)),
            )
        return not left

    def reap(self) -> int:
        """Let go of it after its end; its exit code, or minus the signal that ended it.

        Waits for its end. Repeating is safe.
        """
        code = self._popen.wait()
        self.wire.close()
        for fd in (self._life, self.pidfd):
            if fd >= 0:
                os.close(fd)
        self._life = self.pidfd = -1
        return code


def how(code: int) -> str:
    """An exit code in words, to follow "the child process"."""
    if code >= 0:
        return f"exited with code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    hint = " (not by this worker: was it out of memory?)" if -code == signal.SIGKILL else ""
    return f"was killed by {name}{hint}"


def _command(wire: int, life: int) -> list[str]:
    path = [one or os.getcwd() for one in sys.path]
    code = BOOT.format(path=path, start=START, wire=wire, life=life, parent=os.getpid())
    return [sys.executable, *_flags(), "-c", code]


def _flags() -> list[str]:
    """The interpreter's own, such as -O and -W: what holds here holds there."""
    flags: list[str] = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
    return flags


def _kill_group(group: int) -> None:
    # Not permitted: what is left there has ended, on some systems, or is not ours any more.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def _session(session: int) -> Iterator[int]:
    """What runs in a session but for its leader; nothing where there is no ``/proc``."""
    try:
        names = os.listdir("/proc")
    except OSError:
        return
    for name in names:
        if not name.isdigit() or int(name) == session:
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                state, _, _, its, *_ = file.read().rpartition(b")")[2].split()
        except (OSError, ValueError):
            continue
        if int(its) == session and state not in (b"Z", b"X"):
            yield int(name)
