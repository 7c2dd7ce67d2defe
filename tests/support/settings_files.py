"""Settings from a folder and an environment of their own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from xqueue_core.settings import Settings, load_settings


class Files:
    """Loads settings from an own folder and environment; knows the sections sqlite and redis."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def load(
        self,
        overrides: Mapping[str, object] | None = None,
        *,
        toml: str | None = None,
        dotenv: str | None = None,
        env: Mapping[str, str] | None = None,
        cli: Mapping[str, object] | None = None,
    ) -> Settings:
        for name, text in (("xqueue.toml", toml), (".env", dotenv)):
            if text is not None:
                (self.folder / name).write_text(text, encoding="utf-8")
        return load_settings(
            overrides,
            cli_overrides=cli,
            environ=env or {},
            folder=self.folder,
            sections=("sqlite", "redis"),
        )
