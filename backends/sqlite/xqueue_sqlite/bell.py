"""A bell for the processes that share a file."""

from __future__ import annotations

import os
import secrets
import threading
from collections import Counter
from collections.abc import AsyncIterator, Collection, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import count
from mmap import mmap
from zlib import crc32

from xqueue_core.errors import Refused, Unavailable
from xqueue_core.stored.bell import LocalBell
from xqueue_core.stored.records import Bell, Wait
from xqueue_sqlite.desk import ended
from xqueue_sqlite.failures import system_failure
from xqueue_sqlite.futex import Word

#: Slots of 8 bytes. The first holds the word that is waited for; the others stand for topics,
#: each for many: who shares one wakes for nothing now and then.
_SLOTS = 4_096
#: Longest wait in seconds without a look at the slots, should a wake-up ever be lost.
_LOOK = 0.25


class SharedBell(Bell):
    """Rings through a small file next to the database, mapped into every process.

    A ring writes a number never used before into its topic's slot, then into the first one; a
    thread in each process that listens waits for the latter to change. Within the process a
    :class:`LocalBell` does it without the file.

    Args:
        path: the file, which is made if there is none.
        namespace: topics of different ones do not meet, but for chance.
        kernel: False to poll even where the kernel can wake.
    """

    def __init__(self, path: str, namespace: str = "xqueue", *, kernel: bool = True) -> None:
        self._seed = crc32(namespace.encode())
        self._pid = os.getpid()
        self._local = LocalBell()
        self._lock = threading.Lock()
        self._memory = _mapped(path)
        self._slots = memoryview(self._memory).cast("Q")
        self._word = Word(self._memory, kernel=kernel)
        self._numbers = count(secrets.randbits(62))
        self._listened: Counter[int] = Counter()
        self._seen: dict[int, int] = {}  # by slot listened to, as it was at the last look
        self._own: dict[int, int] = {}  # by slot, what this process wrote there last
        self._wanted = threading.Event()  # somebody listens, or the bell is closing
        self._thread: threading.Thread | None = None
        self._closed = False

    async def ring(self, topics: Collection[str]) -> None:
        """Wake whoever listens to one of these topics, in any process."""
        if os.getpid() != self._pid:
            return  # a lock may have been taken when this process was forked
        slots = {self._slot(topic) for topic in topics}
        with self._lock:
            if self._closed:
                return
            number = next(self._numbers) & 0xFFFF_FFFF_FFFF_FFFF
            for slot in slots:
                self._slots[slot] = self._own[slot] = number
            self._word.change(number & 0xFFFF_FFFF)
        # Only now: whoever rang a slot before it was overwritten is heard through this one.
        self._local.sound([str(slot) for slot in slots])

    def listen(self, topics: Collection[str]) -> AbstractAsyncContextManager[Wait]:
        """Listen within the context; a ring that comes before the first wait is not missed."""
        return self._listen({self._slot(topic) for topic in topics})

    @asynccontextmanager
    async def _listen(self, slots: Collection[int]) -> AsyncIterator[Wait]:
        async with self._local.listen([str(slot) for slot in slots]) as wait:
            self._add(slots)
            try:
                yield wait
            finally:
                self._remove(slots)

    async def close(self) -> None:
        """End the thread and let go of the file. In a forked child: do nothing."""
        if os.getpid() != self._pid:
            return
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._word.change(~self._word.value & 0xFFFF_FFFF)
            self._wanted.set()
        if self._thread is not None:
            await ended(self._thread)
        self._word.close()
        self._slots.release()
        self._memory.close()

    def _slot(self, topic: str) -> int:
        return 1 + crc32(topic.encode("utf-8", "surrogatepass"), self._seed) % (_SLOTS - 1)

    # -- listening ---------------------------------------------------------------------------

    def _add(self, slots: Iterable[int]) -> None:
        if os.getpid() != self._pid:
            raise Refused("the bell was opened by another process; open it here once more")
        with self._lock:
            if self._closed:
                raise Refused("the bell is closed")
            for slot in slots:
                if not self._listened[slot]:
                    self._seen[slot] = self._slots[slot]
                self._listened[slot] += 1
            self._wanted.set()
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._watch, name="xqueue-sqlite-bell", daemon=True
                )
                self._thread.start()

    def _remove(self, slots: Iterable[int]) -> None:
        with self._lock:
            for slot in slots:
                self._listened[slot] -= 1
                if not self._listened[slot]:
                    del self._listened[slot], self._seen[slot]
            if not self._listened and not self._closed:
                self._wanted.clear()

    def _watch(self) -> None:
        while not self._closed:
            # Read before the slots are: what is rung after the look changes it.
            word = self._word.value
            self._local.sound([str(slot) for slot in self._rung()])
            self._word.wait(word, _LOOK)
            self._wanted.wait()

    def _rung(self) -> list[int]:
        """The slots that other processes have rung since the last look."""
        rung = []
        with self._lock:
            for slot, seen in self._seen.items():
                number = self._slots[slot]
                if number != seen:
                    self._seen[slot] = number
                    if number != self._own.get(slot):
                        rung.append(slot)
        return rung


def _mapped(path: str) -> mmap:
    size = _SLOTS * 8
    try:
        handle = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            # Written in full: where the disk has no room for a page of a mapping, the system
            # kills whoever writes to it. Another process doing the same is no harm.
            if missing := max(size - os.fstat(handle).st_size, 0):
                os.pwrite(handle, bytes(missing), size - missing)
            return mmap(handle, size)
        finally:
            os.close(handle)
    except ValueError as error:  # the file is shorter yet: the disk is full
        raise Unavailable(f"{path} cannot be made: no space") from error
    except OSError as error:
        raise system_failure(error, f"{path} cannot be made, or mapped into memory") from error
