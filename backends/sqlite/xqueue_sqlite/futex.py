"""Waiting for a word in shared memory to change.

On Linux the kernel wakes whoever waits, in any process, and waiting costs nothing (futex). It
is reached by ``ctypes``, since Python has no call for it. Elsewhere the word is looked at every
few milliseconds.
"""

from __future__ import annotations

import ctypes
import platform
import sys
import time
from collections.abc import Callable
from mmap import mmap
from typing import Any

#: Seconds between two looks at the word, where it must be polled: just after a change, and most.
_POLL_LEAST = 0.002
_POLL_MOST = 0.005

_WAIT, _WAKE = 0, 1  # without FUTEX_PRIVATE_FLAG: across processes
_EVERYBODY = 2**31 - 1
# The call's number by machine; each has 64 bits, so that a timespec is two longs.
_NUMBERS = {"x86_64": 202, "aarch64": 98, "riscv64": 98, "ppc64le": 221, "s390x": 238}


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class Word:
    """The first 4 bytes of a mapped file, shared by all processes that map it.

    Args:
        memory: the mapping; it can be closed once :meth:`close` was called.
        kernel: False to poll even where the kernel can wake.
    """

    def __init__(self, memory: mmap, *, kernel: bool = True) -> None:
        self._word = ctypes.c_uint32.from_buffer(memory)
        self._pause = _POLL_LEAST
        self._syscall = _syscall() if kernel else None

    @property
    def value(self) -> int:
        """The word as it is now."""
        return self._word.value

    def change(self, value: int) -> None:
        """Set the word and wake everybody who waits for a change."""
        self._word.value = value
        if self._syscall is not None:
            self._syscall(_WAKE, self._word, _EVERYBODY, None)

    def wait(self, seen: int, seconds: float) -> None:
        """Wait until the word may differ from ``seen``, at most this long."""
        if self._syscall is None:
            self._poll(seen, seconds)
        elif self.value == seen:
            limit = _Timespec(int(seconds), int(seconds % 1 * 1e9))
            self._syscall(_WAIT, self._word, seen, ctypes.byref(limit))

    def _poll(self, seen: int, seconds: float) -> None:
        end = time.monotonic() + seconds
        while self.value == seen and time.monotonic() < end:
            time.sleep(self._pause)
            self._pause = min(self._pause * 1.01, _POLL_MOST)
        if self.value != seen:
            self._pause = _POLL_LEAST

    def close(self) -> None:
        """Let go of the mapping. Nobody may wait any more."""
        del self._word


def _syscall() -> Callable[[int, ctypes.c_uint32, int, Any], int] | None:
    number = _NUMBERS.get(platform.machine())
    if sys.platform != "linux" or number is None or ctypes.sizeof(ctypes.c_void_p) != 8:
        return None
    function = ctypes.CDLL(None).syscall
    function.restype = ctypes.c_long

    def call(operation: int, word: ctypes.c_uint32, value: int, limit: Any) -> int:
        result: int = function(
            ctypes.c_long(number),
            ctypes.byref(word),
            ctypes.c_int(operation),
            ctypes.c_uint32(value),
            limit,
            None,
            ctypes.c_int(0),
        )
        return result

    return call
