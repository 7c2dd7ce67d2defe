"""N: what a backend cannot do raises ``Unsupported`` and is never dropped in silence (G12)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from xqueue_core.calls import Ability, Cancel, Did, Put
from xqueue_core.conformance.bench import Bench
from xqueue_core.conformance.cases import case
from xqueue_core.conformance.check import holds, same
from xqueue_core.errors import Unsupported
from xqueue_core.permits import Request
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


@case("N138")
async def tight_numbers(bench: Bench) -> None:
    """The numbers a backend claims are positive, and its name of the scope of order is known."""
    claims = bench.harness.capabilities
    for name in ("max_payload", "max_delay", "dedupe_horizon", "max_in_flight"):
        holds(getattr(claims, name) > 0, f"{name} is above 0")
    holds(claims.delay_resolution >= 0, "delay_resolution is 0 or more")
    holds(claims.failure_detection >= 0, "failure_detection is 0 or more")
    holds(claims.order_scope in ("lane", "shard"), "order_scope is lane or shard")
