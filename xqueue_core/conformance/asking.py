"""How cases ask why a task is not running, and insist on what is said first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from xqueue_core.calls import Beat, Held
from xqueue_core.conformance.check import Broken
from xqueue_core.conformance.worker import LONG
from xqueue_core.task import Task
from xqueue_core.why import Reason, Why, ask

if TYPE_CHECKING:
    from xqueue_core.conformance.bench import Bench

R = TypeVar("R", bound=Reason)


async def why(bench: Bench, task: Task | str) -> Why:
    """What is said of the task now."""
    ordered = bench.harness.capabilities.order_scope == "lane"
    id = task if isinstance(task, str) else task.id
    return await ask(bench.faces, id, ordered=ordered)


async def says(
    bench: Bench, task: Task | str, kind: type[R], *, first: bool = True, within: float = 5.0
) -> R:
    """Wait until a reason of this kind is given, as the most decisive one unless it need not be."""
    last: Why | None = None

    async def said() -> R | None:
        nonlocal last
        last = await why(bench, task)
        among = last.reasons[:1] if first else last.reasons
        return next((one for one in among if isinstance(one, kind)), None)

    try:
        found = await bench.until("", said, within)
    except Broken:
        found = None
    if found is None:
        raise Broken(f"waited {within:g} s for {kind.__name__}; what was said:\n{last}")
    return found


async def registers(bench: Bench, name: str, **more: Any) -> str:
    """A worker sends one heartbeat that tells more than those of the bench do; its id."""
    id = f"{name}~{bench.number():032x}"
    await beats(bench, id, **more)
    return id


async def beats(bench: Bench, id: str, held: Sequence[Held] = (), **more: Any) -> None:
    """One heartbeat of such a worker."""
    fields = {"lanes": ["job"], "types": ["job"], "slots": 10, "lease": LONG, **more}
    await bench.queue.extend(Beat(worker=id, heartbeat=LONG / 5, **fields), held)
