"""XQueue in memory: the reference backend, for tests and for one process."""

from xqueue_memory.backend import MemoryBackend
from xqueue_memory.records import MemoryRecords

__all__ = ["MemoryBackend", "MemoryRecords"]
