"""The raw client's limit: the least that SQLite itself has to do for the same tasks.

One row is inserted for each task, in transactions of 500; then batches of 100 are read, marked
as taken, committed, marked as done, committed. No dedupe, events, counts, history or fences.
"""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

SUBMIT = 500
LEASE = 100


def measured(path: Path, durability: str, count: int) -> dict[str, float]:
    """Tasks per second of the two phases."""
    db = sqlite3.connect(path, isolation_level=None)
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute(f"PRAGMA synchronous = {'FULL' if durability == 'power' else 'NORMAL'}")
        db.execute("CREATE TABLE task (id TEXT PRIMARY KEY, state INTEGER, body BLOB)")
        db.execute("CREATE INDEX ready ON task (state, id)")
        began = time.perf_counter()
        for n in range(0, count, SUBMIT):
            db.execute("BEGIN IMMEDIATE")
            rows = [(f"noop:{i:012d}", 0, b"x" * 200) for i in range(n, n + SUBMIT)]
            db.executemany("INSERT INTO task VALUES (?, ?, ?)", rows)
            db.execute("COMMIT")
        submit = count / (time.perf_counter() - began)
        began = time.perf_counter()
        while True:
            take = "SELECT id, body FROM task WHERE state = 0 ORDER BY id LIMIT ?"
            ids = [(row[0],) for row in db.execute(take, (LEASE,))]
            if not ids:
                break
            for state in (1, 2):
                db.execute("BEGIN IMMEDIATE")
                db.executemany(f"UPDATE task SET state = {state} WHERE id = ?", ids)
                db.execute("COMMIT")
        return {"submit": submit, "drain": count / (time.perf_counter() - began)}
    finally:
        db.close()
