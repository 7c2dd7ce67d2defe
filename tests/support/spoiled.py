"""Records that cannot be read any more."""

from __future__ import annotations

import sqlite3
from pathlib import Path


def spoil(file: Path, id: str) -> None:
    """Overwrite a task's record in a database of SQLite."""
    with sqlite3.connect(file) as db:
        names = [row[0] for row in db.execute("select name from sqlite_master where type='table'")]
        for name in names:
            columns = [row[1] for row in db.execute(f"pragma table_info({name})")]
            if {"key", "body"} <= set(columns):
                db.execute(f"update {name} set body = x'52ff' where key = ?", (f"t/{id}",))
    db.close()
