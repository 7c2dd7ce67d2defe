"""What a worker process says to its supervisor, through a pipe: how busy it is, and why it ends.

An exit code alone says little: any code that runs in the process can end it with any of them.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xqueue_core.worker.pacing import Busy

#: Exit code for wrong usage or configuration, which a restart cannot heal.
USAGE = 2
#: Exit code of a process that must be replaced (EX_TEMPFAIL).
RECYCLE = 75

# Which word, slots, share, saturated: short enough to be written in one piece.
_RECORD = struct.Struct("<BId?")


class Word(IntEnum):
    """What is said. All but ``BUSY`` are last words, which tell why the process ends."""

    BUSY = 0
    STOPPED = 1  # somebody signalled it
    ORDERED = 2  # an operator ordered it to end
    EMPTY = 3  # ``--burst`` found nothing more
    RECYCLE = 4  # code in it cannot be stopped
    USAGE = 5  # it cannot serve as it is configured

    @property
    def code(self) -> int:
        """The exit code that goes with it."""
        return {Word.RECYCLE: RECYCLE, Word.USAGE: USAGE}.get(self, 0)


class Mouth:
    """Says it; what does not fit into the pipe is not said. Without a pipe it says nothing."""

    def __init__(self, fd: int | None = None) -> None:
        self._fd = fd
        if fd is not None:
            os.set_inheritable(fd, False)
            os.set_blocking(fd, False)

    @property
    def busy(self) -> Callable[[Busy], None] | None:
        """Says how busy a worker is; None if nobody listens."""
        return None if self._fd is None else lambda busy: self._say(Word.BUSY, *busy)

    def last(self, word: Word) -> None:
        """Say why the process ends, just before it does."""
        self._say(word)

    def _say(self, word: Word, slots: int = 0, share: float = 0.0, full: bool = False) -> None:
        if self._fd is None:
            return
        try:
            os.write(self._fd, _RECORD.pack(word, slots, share, full))
        except OSError:
            return  # nobody reads: the supervisor was stopped, or is gone


class Ear:
    """Hears it, at the other end of the pipe. Raises OSError if there can be none."""

    def __init__(self) -> None:
        self._fd, self.mouth = os.pipe()  #: ``mouth`` is for the worker
        os.set_blocking(self._fd, False)
        self.last: Word | None = None  #: why the worker ends, if it has said so

    def hear(self) -> Busy | None:
        """How busy it last said it is; None if it has not since this was called before."""
        from xqueue_core.worker.pacing import Busy

        said = b""
        try:
            while part := os.read(self._fd, 1 << 16):
                said += part
        except BlockingIOError:
            pass
        busy = None
        for word, *about in _RECORD.iter_unpack(said[: len(said) // _RECORD.size * _RECORD.size]):
            if word == Word.BUSY:
                busy = Busy(*about)
            else:
                self.last = Word(word)
        return busy

    def close(self) -> None:
        """Let go of this end."""
        os.close(self._fd)
