"""One run over a folder: what it works on, what is recorded, and how it goes on after a kill.

A row is *recorded* when the result is in the queue's store and the demo, having read it from
there, has written the row to ``results.jsonl``. A recorded file is never submitted again. A run
is unfinished while a file of it has no row, and an unfinished run is gone on with.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from demo_parts import history
from demo_parts.folder import Listing
from demo_parts.names import to_token

#: Of the files in their order, every so many ...
FAULT_EVERY = 8
#: ... and at most so many meet an injected fault at their first start.
MOST_FAULTS = 8


@dataclass(slots=True, frozen=True)
class Target:
    """What a run is over: one folder, on one broker."""

    folder: Path
    url: str

    @property
    def key(self) -> str:
        """A short name of the target."""
        text = os.fsencode(self.folder) + b"\0" + os.fsencode(self.url)
        return hashlib.blake2b(text, digest_size=4).hexdigest()


@dataclass(slots=True, frozen=True)
class Row:
    """What became of one file. Times are seconds."""

    run: str
    path: str  # absolute, as in the history
    id: str
    state: str
    error: str = ""
    digest: dict[str, Any] | None = None
    attempts: int = 0
    waited: float = 0.0  # from acceptance to the first start
    ran: float = 0.0  # the last attempt


@dataclass(slots=True)
class Run:
    """A run, and the files it keeps in the demo's own folder."""

    id: str
    target: Target
    names: list[str]  # relative to the folder
    state: Path
    resumed: bool = False
    rows: dict[str, Row] = field(default_factory=dict)  # what is recorded, by path

    @property
    def history_file(self) -> Path:
        """Where the workers note every start and end."""
        return self.state / "history.jsonl"

    @property
    def results_file(self) -> Path:
        """Where rows are recorded."""
        return self.state / "results.jsonl"

    def path(self, name: str) -> Path:
        """The absolute path of a file of the run."""
        return self.target.folder / name

    def token(self, name: str) -> str:
        """The token of the file's task id: run and path, so that a repeat is a duplicate."""
        return to_token(self.id, name)

    @property
    def missing(self) -> list[str]:
        """Files without a row."""
        return [name for name in self.names if str(self.path(name)) not in self.rows]

    @property
    def faults(self) -> set[str]:
        """The files that meet an injected fault: the same ones whenever it is asked."""
        return set(self.names[::FAULT_EVERY][:MOST_FAULTS])

    def record(self, row: Row) -> None:
        """Write a row that was read from the queue's store."""
        history.append(self.results_file, asdict(row))
        history.note(self.history_file, self.id, "recorded", id=row.id, path=row.path)
        self.rows[row.path] = row

    def lines(self) -> list[history.Line]:
        """The run's history."""
        return [line for line in history.read(self.history_file) if line["run"] == self.id]


def unfinished(target: Target, state: Path) -> Run | None:
    """The last run over the target, if a file of it has no row."""
    try:
        kept = json.loads(_file(target, state).read_text())
    except FileNotFoundError:
        return None
    run = Run(kept["run"], target, kept["files"], state, resumed=True)
    rows = [Row(**line) for line in history.read(run.results_file) if line["run"] == run.id]
    run.rows = {row.path: row for row in rows}
    return run if run.missing else None


def begin(target: Target, state: Path, listing: Listing) -> Run:
    """A new run over the files of a listing."""
    id = f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"
    file = _file(target, state)
    # Written aside and moved: whenever a kill comes, the file is whole.
    aside = file.with_suffix(".new")
    aside.write_text(json.dumps({"run": id, "files": listing.files, **_described(target)}))
    os.replace(aside, file)
    return Run(id, target, listing.files, state)


def _file(target: Target, state: Path) -> Path:
    return state / f"run-{target.key}.json"


def _described(target: Target) -> dict[str, str]:
    """For people who look into the file."""
    return {"folder": str(target.folder)}
