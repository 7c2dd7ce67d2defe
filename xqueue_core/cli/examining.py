"""What ``xqueue doctor`` looks at, and what it finds."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from xqueue_core.calls import ALL_ABILITIES, Capabilities
from xqueue_core.cli.files import database
from xqueue_core.cli.mounts import filesystem, is_network
from xqueue_core.cli.versions import versions
from xqueue_core.cli.views import asked_stats, asked_workers
from xqueue_core.errors import XQueueError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from xqueue_core.app import XQueue
    from xqueue_core.cli.caller import Caller
    from xqueue_core.connect import Connection
    from xqueue_core.views import Stats, WorkerInfo

#: Longest wait for the broker, all questions together (seconds).
PATIENCE = 15.0
#: A clock that differs by more is worth a note (seconds).
CLOCK = 1.0


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at: ``ok``, ``note`` (worth knowing), or ``wrong``."""

    check: str
    verdict: str
    detail: str


@dataclass(slots=True)
class Findings:
    """All that was found out."""

    checks: list[Check] = field(default_factory=list)
    brokers: list[dict[str, Any]] = field(default_factory=list)
    describe: dict[str, Any] | None = None

    def add(self, check: str, verdict: str, detail: str) -> None:
        """Note one check."""
        self.checks.append(Check(check, verdict, detail))

    @property
    def ok(self) -> bool:
        """True if nothing is wrong."""
        return all(one.verdict != "wrong" for one in self.checks)

    def data(self) -> dict[str, Any]:
        """As JSON types."""
        return {
            "ok": self.ok,
            "checks": [asdict(one) for one in self.checks],
            "versions": versions(),
            "brokers": self.brokers,
            "describe": self.describe,
        }


def examine(call: Caller) -> Findings:
    """Look at everything, as far as that goes. What is wrong is a finding, never an error."""
    found = Findings()
    try:
        app = call.app
        settings = app.settings()
        found.add("settings", "ok", f"url from {settings.origin['url']}")
        urls = (settings.url, settings.view_url, settings.semaphore_url, settings.notifier_url)
        there = [_broker(found, app, url) for url in dict.fromkeys(urls) if url is not None]
    except XQueueError as error:
        found.add("settings", "wrong", str(error))
        return found
    if all(there):
        asyncio.run(_ask(found, app))
    return found


def _broker(found: Findings, app: XQueue, url: str) -> bool:
    """Look at a broker's plugin and file; True if it can be connected to. Raises ConfigError."""
    from xqueue_core.settings import backend_name, backend_settings, masked

    backend = app._backends.get(backend_name(url))
    own = backend_settings(app.settings(), url, backend.Settings)
    capabilities = backend.capabilities(own)
    path = database(app, url)
    known = {
        "url": masked(url),
        "backend": f"{type(backend).__module__}.{type(backend).__qualname__}",
        "path": None if path is None else str(path),
        "filesystem": None if path is None else filesystem(path) or None,
        "capabilities": _capabilities(capabilities),
    }
    found.brokers.append(known)
    found.add("backend", "ok", f"{known['url']}: {known['backend']}")
    lacking = sorted(ALL_ABILITIES - capabilities.abilities)
    detail = f"lacks {', '.join(lacking)}" if lacking else f"all {len(ALL_ABILITIES)}"
    found.add("abilities", "note" if lacking else "ok", detail)
    if not capabilities.shared:
        found.add("sharing", "note", "it lives in one process alone")
    return True if path is None else _file(found, path)


def _capabilities(capabilities: Capabilities) -> dict[str, Any]:
    built: dict[str, Any] = msgspec.to_builtins(capabilities)
    return {**built, "abilities": sorted(capabilities.abilities)}


def _file(found: Findings, path: Path) -> bool:
    """Look at a database's file; True if it can be opened without being made."""
    kind = filesystem(path)
    where = f"{path}{f' on {kind}' if kind else ''}"
    if is_network(kind):
        found.add("file", "wrong", f"{where}: a network file system, which hosts may share")
        return False
    if not path.parent.is_dir():
        found.add("file", "wrong", f"{where}: its folder does not exist")
        return False
    if not os.access(path.parent, os.W_OK | os.X_OK):
        found.add("file", "wrong", f"{where}: this user may not write in its folder")
        return False
    if not path.exists():
        found.add("file", "note", f"{where}: not there yet; the first submit or worker makes it")
        return False
    if not os.access(path, os.R_OK | os.W_OK):
        found.add("file", "wrong", f"{where}: this user may not read and write it")
        return False
    found.add("file", "ok", f"{where}, {shutil.disk_usage(path).free >> 20} MiB free")
    return True


async def _ask(found: Findings, app: XQueue) -> None:
    began = time.monotonic()
    try:
        async with asyncio.timeout(PATIENCE), app.connect() as connection:
            took = time.monotonic() - began
            found.add("connection", "ok", f"open after {took * 1000:.0f} ms")
            found.describe = dict(await connection.faces.queue.describe())
            await _look(found, connection)
    except TimeoutError:
        found.add("connection", "wrong", f"the broker did not answer within {PATIENCE:g} s")
    except XQueueError as error:
        found.add("connection", "wrong", str(error))


async def _look(found: Findings, connection: Connection) -> None:
    before = time.time()
    stats = await asked_stats(connection)
    after = time.time()
    if stats.at:
        ahead = stats.at - (before + after) / 2
        verdict = "ok" if abs(ahead) <= CLOCK + (after - before) / 2 else "note"
        found.add("clock", verdict, f"the broker's is {ahead:+.3f} s from this machine's")
    balanced = stats.total().conserved
    detail = "accepted + replayed = live + final" if balanced else "tasks are missing, or too many"
    found.add("ledger", "ok" if balanced else "wrong", detail)
    workers = await asked_workers(connection)
    _workers(found, workers)
    _lanes(found, stats, workers)


def _workers(found: Findings, workers: Sequence[WorkerInfo]) -> None:
    alive = sum(one.alive for one in workers)
    dead = [one.beat.worker for one in workers if not one.alive]
    found.add("workers", "ok" if alive else "note", f"{alive} alive")
    if dead:
        found.add("workers", "note", f"not heard of lately: {', '.join(dead)}")
    for one in workers:
        if one.beat.overdue:
            ids = ", ".join(one.beat.overdue)
            found.add("workers", "note", f"{one.beat.worker} cannot stop the code of {ids}")


def _lanes(found: Findings, stats: Stats, workers: Sequence[WorkerInfo]) -> None:
    served = {lane for one in workers if one.alive for lane in one.beat.lanes}
    waiting = _waiting(stats)
    for lane in sorted(stats.lanes):
        if stats.lanes[lane].paused:
            found.add("lanes", "note", f"{lane} is paused")
        elif waiting[lane] and lane not in served:
            found.add("lanes", "note", f"{lane}: {waiting[lane]} pending, and no live worker")
    quarantined = stats.total().quarantined
    if quarantined:
        found.add("quarantine", "note", f"{quarantined}: see dead list --state quarantined")


def _waiting(stats: Stats) -> Mapping[str, int]:
    return {
        name: sum(row.pending for row in lane.types.values()) for name, lane in stats.lanes.items()
    }
