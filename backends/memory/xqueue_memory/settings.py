"""Settings of the memory backend. Imported on first use only: it loads pydantic."""

from __future__ import annotations

from pydantic import Field

from xqueue_core.stored.settings import StoredSettings


class MemorySettings(StoredSettings):
    """Settings of one store: ``memory://`` or, for several of them, ``memory://<name>``."""

    host: str = Field(default="", description="The store's name.")
    path: str = Field(default="", description="More of the store's name.")

    @property
    def store(self) -> str:
        """The store's full name."""
        return f"{self.host}/{self.path}"
