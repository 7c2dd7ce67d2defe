"""Backends that tell wrong what explanations rest on: each is found by its case."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from unit.conformance.broken import Bare, Breaker, BrokenHarness
from unit.conformance.views import Seen
from xqueue_core.abc import Faces, Semaphore, TaskView
from xqueue_core.calls import Ability
from xqueue_core.conformance import run
from xqueue_core.views import Filter, Stats, TaskInfo, Tasks, WorkerInfo


class RanksBackwards(Seen):
    """The last of a level has the least rank."""

    def change(self, info: TaskInfo) -> None:
        info.rank = (1 << 62) - info.rank


class ForgetsPauses(Seen):
    """The time until a task expires runs on while its lane is paused."""

    def change(self, info: TaskInfo) -> None:
        if info.expires_at and info.task is not None:
            info.expires_at = info.due_at + (info.task.queue_timeout or 0.0)


class ListsBackwards(Seen):
    """Pages come backwards, and are said to be in order."""

    async def list(self, filter: Filter, after: str | None, limit: int) -> Tasks:
        page = await super().list(filter, after, limit)
        return Tasks(page.items[::-1], page.next, page.in_order)


class HidesThePast(Seen):
    """The history is not told."""

    def change(self, info: TaskInfo) -> None:
        info.history = []


class Resurrects(Seen):
    """Every worker ever seen is said to live and to lease."""

    async def workers(self) -> Sequence[WorkerInfo]:
        found = list(await self.inner.workers())
        for one in found:
            one.alive, one.quiet, one.stop = True, False, False
        return found


class NeverPaused(Seen):
    """No lane is said to be paused."""

    async def stats(self) -> Stats:
        stats = await self.inner.stats()
        for lane in stats.lanes.values():
            lane.paused = False
        return stats


class LastsForEver:
    """Permits are said to last twice as long as they do."""

    def __init__(self, inner: Semaphore) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    async def inspect(self, keys: Sequence[str]) -> Any:
        found = await self.inner.inspect(keys)
        for one in found:
            one.expires_in = {id: 2 * left for id, left in one.expires_in.items()}
        return found


def seen(made: Callable[[TaskView], TaskView]) -> Breaker:
    """Spoils the view."""
    return lambda faces: faces._replace(view=made(faces.needed("view")))


def held(faces: Faces) -> Faces:
    """Spoils the semaphore."""
    spoiled: Any = LastsForEver(faces.needed("semaphore"))
    return faces._replace(semaphore=spoiled)


#: What is broken, and the cases of the group that find it.
PLANTED: dict[str, tuple[Breaker, set[str]]] = {
    "ranks backwards": (seen(RanksBackwards), {"WHY16", "WHY17"}),
    "lists backwards": (seen(ListsBackwards), {"WHY16", "WHY17"}),
    "forgets pauses": (seen(ForgetsPauses), {"WHY8"}),
    "hides the past": (seen(HidesThePast), {"WHY4", "WHY6", "WHY7", "WHY20"}),
    "resurrects": (seen(Resurrects), {"WHY12", "WHY13"}),
    "never paused": (seen(NeverPaused), {"WHY5", "WHY8", "WHY10"}),
    "lasts for ever": (held, {"WHY15", "WHY16"}),
}

GROUP = {f"WHY{n}" for n in range(1, 23)} - {"WHY3", "WHY9"}


@pytest.mark.parametrize("name", PLANTED)
def test_what_is_told_wrong_is_found(name: str) -> None:
    breaker, finders = PLANTED[name]
    report = run(BrokenHarness(breaker), only=GROUP, at_once=20)
    assert {one.id for one in report.failed} == finders
    assert all(one.message for one in report.failed)


def test_what_a_backend_of_four_methods_cannot_tell_is_said() -> None:
    bare = BrokenHarness(lambda faces: Faces(Bare(faces.queue)), frozenset())
    report = run(bare, only={"WHY9"})
    assert report.failed == []
    blind = BrokenHarness(lambda faces: faces._replace(view=None), frozenset({Ability.LIMITS}))
    assert run(blind, only={"WHY9"}).failed == []


def test_a_lack_that_is_hidden_is_found() -> None:
    hidden = BrokenHarness(abilities=frozenset(Ability) - {Ability.LIMITS})
    assert [one.id for one in run(hidden, only={"WHY9"}).failed] == ["WHY9"]
