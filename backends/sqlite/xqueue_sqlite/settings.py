"""Settings of the SQLite backend. Imported on first use only: it loads pydantic."""

from __future__ import annotations

from pydantic import Field

from xqueue_core.stored.settings import StoredSettings
from xqueue_sqlite.connection import FileOptions


class SqliteSettings(StoredSettings):
    """Settings of one file: ``sqlite:///relative.db`` or ``sqlite:////absolute.db``."""

    path: str = Field(default="xqueue.db", min_length=1, description="The file.")
    busy_timeout: float = Field(
        default=5.0,
        gt=0,
        le=60,
        allow_inf_nan=False,
        description="Seconds to wait for another process that holds the file: to 60.",
    )
    max_pages: int | None = Field(
        default=None,
        ge=64,
        le=2**32 - 2,
        description="Most pages of 4096 bytes the file may have, 64 or more; no limit if unset.",
    )

    make: bool = Field(
        default=True, description="Make the file and its tables if they are not there: true, false."
    )

    def file_options(self) -> FileOptions:
        """How the file is opened."""
        return FileOptions(
            namespace=self.namespace,
            durability=self.durability,
            busy_timeout=self.busy_timeout,
            max_pages=self.max_pages,
            make=self.make,
        )
