"""N: what a backend cannot do raises ``Unsupported`` and is never dropped in silence (G12)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib.metadata import EntryPoint
from typing import Any

import anyio

from xqueue_core.abc import API
from xqueue_core.calls import Ability, Cancel, Did, Put
from xqueue_core.conformance.bench import Bench
from xqueue_core.conformance.cases import all_cases, case, choose
from xqueue_core.conformance.check import Broken, holds, same
from xqueue_core.errors import PluginIncompatible, Unsupported
from xqueue_core.permits import Request
from xqueue_core.plugins import BACKENDS, load_backend
from xqueue_core.views import Filter


async def _refused(bench: Bench, **options: Any) -> bool:
    try:
        answer = (await bench.put(bench.task(**options)))[0]
    except Unsupported:
        return True
    return answer.put is Put.REJECTED and isinstance(answer.error, Unsupported)


async def _raises(call: Callable[[], Awaitable[object]]) -> bool:
    try:
        await call()
    except Unsupported:
        return True
    return False


async def _cancel(bench: Bench) -> bool:
    task = await bench.submit()
    return (await bench.control(Cancel(task.id)))[0].did is Did.UNSUPPORTED


async def _limits(bench: Bench) -> bool:
    wish = Request(id="r", key="k", worker="w~0")
    return await _raises(lambda: bench.semaphore.acquire([wish], 0.0))


async def _view(bench: Bench) -> bool:
    return await _raises(lambda: bench.view.find(["job:t1"]))


async def _events(bench: Bench) -> bool:
    async def listen() -> None:
        # Who listens where nothing happens hears nothing: that is no refusal.
        with anyio.move_on_after(1.0 * bench.scale):
            async for _ in bench.notifier.subscribe(Filter()):
                return

    return await _raises(listen)


#: How the lack of each ability shows in a call. The others show only at start-up, where the
#: engine refuses an app that does not accept their lack.
_PROBES: dict[Ability, Callable[[Bench], Awaitable[bool]]] = {
    Ability.DEDUPE: lambda bench: _refused(bench, unique_key="hash"),
    Ability.DELAY: lambda bench: _refused(bench, delay=60.0),
    Ability.PRIORITY: lambda bench: _refused(bench, priority=5),
    Ability.CANCEL: _cancel,
    Ability.LIMITS: _limits,
    Ability.VIEW: _view,
    Ability.EVENTS: _events,
}


@case("N136", traits={"lacking"})
async def absent_raises(bench: Bench) -> None:
    """What needs an ability that the backend does not claim is refused as Unsupported."""
    claimed = bench.harness.capabilities.abilities
    ignored = [
        ability.value
        for ability, probe in _PROBES.items()
        if ability not in claimed and not await probe(bench)
    ]
    same(ignored, [], "abilities neither claimed nor refused")


#: The face without which an ability cannot be had.
_FACES = {Ability.VIEW: "view", Ability.LIMITS: "semaphore", Ability.EVENTS: "notifier"}


@case("N137")
async def claims_are_tried(bench: Bench) -> None:
    """Every ability that is claimed is one that cases of the kit try here, and its face is there:
    nothing is claimed that this run would pass over. (What was chosen and does not run fails.)"""
    claimed = bench.harness.capabilities.abilities
    chosen = choose(bench.harness, all_cases()).cases
    tried = {ability for one in chosen for ability in one.needs}
    same(sorted(claimed - tried), [], "abilities that are claimed and that no case tries")
    absent = [a for a, face in _FACES.items() if a in claimed and not getattr(bench.faces, face)]
    same(absent, [], "abilities that are claimed without a face")
    if "shared" in bench.harness.traits:
        task = await bench.submit()
        other = await bench.another()
        worker = await bench.worker(queue=other.queue)
        same((await worker.one()).task.id, task.id, "task that another opening delivers")


@case("N138")
async def tight_numbers(bench: Bench) -> None:
    """The numbers a backend claims are positive, and its name of the scope of order is known."""
    claims = bench.harness.capabilities
    for name in ("max_payload", "max_delay", "dedupe_horizon", "max_in_flight"):
        holds(getattr(claims, name) > 0, f"{name} is above 0")
    holds(claims.delay_resolution >= 0, "delay_resolution is 0 or more")
    holds(claims.failure_detection >= 0, "failure_detection is 0 or more")
    holds(claims.order_scope in ("lane", "shard"), "order_scope is lane or shard")


@case("N139", traits={"backend"})
async def api_versions(bench: Bench) -> None:
    """The backend's class is loaded as an entry point names it, and states this version of the
    contract; one that states another version, or none, is refused with both versions named."""
    backend = type(bench.harness.backend)
    loaded = load_backend("kit", entry_points=[_entry(backend)])
    same((type(loaded), loaded.api), (backend, API), "what is loaded, and its version")
    for version in (API - 1, API + 1, None):
        other = type(backend.__name__, (backend,), {"api": version})
        try:
            load_backend("kit", entry_points=[_entry(other)])
        except PluginIncompatible as error:
            stated = "no version" if version is None else f"version {version}"
            holds(stated in str(error) and f"version {API}" in str(error), f"it says so: {error}")
        else:
            raise Broken(f"a backend of version {version} was loaded")


def _entry(named: type[Any]) -> EntryPoint:
    """An entry point that names this class, wherever it was made."""

    class Named(EntryPoint):
        def load(self) -> Any:
            return named

    return Named("kit", f"{named.__module__}:{named.__qualname__}", BACKENDS)
