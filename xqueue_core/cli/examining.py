"""What ``xqueue doctor`` looks at, and what it finds."""

from __future__ import annotations

import asyncio
import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from xqueue_core.calls import ALL_ABILITIES, Capabilities
from xqueue_core.cli.files import database
from xqueue_core.cli.versions import versions
from xqueue_core.cli.views import asked_stats, asked_workers
from xqueue_core.connect import broker_urls, check_brokers
from xqueue_core.errors import NoDatabase, XQueueError
from xqueue_core.findings import Level

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from xqueue_core.abc import Backend
    from xqueue_core.app import XQueue
    from xqueue_core.cli.caller import Caller
    from xqueue_core.connect import Connection
    from xqueue_core.views import Stats, WorkerInfo

#: Longest wait for the broker, all questions together (seconds).
PATIENCE = 15.0
#: How long a backend may look at its broker before it is opened (seconds).
LOOK = 5.0
#: Seconds beyond that after which it is taken to hang.
HANGING = 5.0
#: A clock that differs by more is worth a note (seconds).
CLOCK = 1.0


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at: ``ok``, ``note`` (worth knowing), or ``wrong``."""

    check: str
    verdict: str
    detail: str
    advice: str  # what to do, or ""


@dataclass(slots=True)
class Findings:
    """All that was found out."""

    checks: list[Check] = field(default_factory=list)
    brokers: list[dict[str, Any]] = field(default_factory=list)
    describe: dict[str, Any] | None = None

    def add(self, check: str, verdict: str, detail: str, advice: str = "") -> None:
        """Note one check."""
        self.checks.append(Check(check, verdict, detail, advice))

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
    from xqueue_core.settings import masked

    found = Findings()
    try:
        app = call.app
        settings = app.settings()
        found.add("settings", "ok", f"url from {settings.origin['url']}")
        urls = broker_urls(settings)
        if settings.notifier_url is not None and "notifier_url" not in urls:
            check_brokers(settings, app._backends)
            found.add("notifier", "ok", masked(settings.notifier_url))
        there = [_broker(found, app, url) for url in dict.fromkeys(urls.values())]
    except XQueueError as error:
        found.add("settings", "wrong", str(error))
        return found
    _plugins(found, app)
    if all(there):
        asyncio.run(_ask(found, app))
    return found


def _plugins(found: Findings, app: XQueue) -> None:
    """Load the plugins that the settings name, without opening them."""
    from xqueue_core.hooks import Place
    from xqueue_core.plugged import plugged
    from xqueue_core.settings import unused_sections

    for one in unused_sections(app.settings()):
        found.add("plugins", "note", one.detail, one.advice)
    names = app.settings().plugins
    if not names:
        return
    try:
        for place in Place:
            plugged(app, place)
    except XQueueError as error:
        found.add("plugins", "wrong", str(error))
    else:
        found.add("plugins", "ok", ", ".join(names))


def _broker(found: Findings, app: XQueue, url: str) -> bool:
    """Look at a broker's plugin and place; True if it can be connected to. Raises ConfigError."""
    from xqueue_core.connect import INLINE, broker_settings
    from xqueue_core.settings import backend_name, masked

    if url.startswith(INLINE):
        detail = f"{url}: no broker; each task runs within its submit, and nothing is kept"
        found.add("backend", "note", detail, "to keep tasks take sqlite:///xqueue.db")
        return False
    backend = app._backends.get(backend_name(url))
    own = broker_settings(app.settings(), url, app._backends)
    capabilities = backend.capabilities(own)
    path = database(app, url)
    known = {
        "url": masked(url),
        "backend": f"{type(backend).__module__}.{type(backend).__qualname__}",
        "path": None if path is None else str(path),
        "capabilities": _capabilities(capabilities),
    }
    found.brokers.append(known)
    found.add("backend", "ok", f"{known['url']}: {known['backend']}")
    lacking = sorted(ALL_ABILITIES - capabilities.abilities)
    detail = f"lacks {', '.join(lacking)}" if lacking else f"all {len(ALL_ABILITIES)}"
    found.add("abilities", "note" if lacking else "ok", detail)
    if not capabilities.shared:
        found.add("sharing", "note", "it lives in one process alone")
    fine = asyncio.run(_examined(found, backend, own))
    # Opening a file that is not there would make it.
    return fine and (path is None or path.exists())


async def _examined(found: Findings, backend: Backend, settings: Any) -> bool:
    """Add what the backend finds itself; True if nothing of that is wrong."""
    fine = True
    try:
        async with asyncio.timeout(LOOK + HANGING):
            async for one in backend.examine(settings, LOOK):
                level = Level(one.level)
                fine = fine and level is not Level.ERROR
                found.add(one.check, level.value, one.detail, one.advice)
    except TimeoutError:
        found.add("examination", "note", f"the backend found no more in {LOOK + HANGING:g} s")
    # Whatever an author's code may raise is told, and the rest is looked at all the same.
    except Exception as error:  # noqa: BLE001
        text = f"the backend cannot be examined: {type(error).__name__}: {error}"
        found.add("examination", "wrong", text)
    return fine


def _capabilities(capabilities: Capabilities) -> dict[str, Any]:
    built: dict[str, Any] = msgspec.to_builtins(capabilities)
    return {**built, "abilities": sorted(capabilities.abilities)}


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
    except NoDatabase as error:
        # Worth knowing and no more, for the first submit or worker makes it.
        found.add("connection", "note", str(error))
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
