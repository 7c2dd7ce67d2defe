"""XQueue on one SQLite file: durable, for several processes on one host, nothing to install."""

from xqueue_sqlite.backend import SqliteBackend
from xqueue_sqlite.records import SqliteRecords

__all__ = ["SqliteBackend", "SqliteRecords"]
