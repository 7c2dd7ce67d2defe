"""Views that show what another one does, changed: to be spoiled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from xqueue_core.abc import TaskView
from xqueue_core.views import Filter, Stats, TaskInfo, Tasks, WorkerInfo


class Seen(TaskView):
    """A view that shows what another one does, changed."""

    def __init__(self, inner: TaskView) -> None:
        self.inner = inner

    def change(self, info: TaskInfo) -> None:
        """Spoil a task."""

    def _spoiled(self, info: TaskInfo | None) -> TaskInfo | None:
        if info is not None:
            self.change(info)
        return info

    async def find(self, ids: Sequence[str]) -> Sequence[TaskInfo | None]:
        return [self._spoiled(info) for info in await self.inner.find(ids)]

    async def list(self, filter: Filter, after: str | None, limit: int) -> Tasks:
        page = await self.inner.list(filter, after, limit)
        for info in page.items:
            self.change(info)
        return page

    async def stats(self) -> Stats:
        return await self.inner.stats()

    async def workers(self) -> Sequence[WorkerInfo]:
        return await self.inner.workers()

    async def schedules(self) -> Any:
        return await self.inner.schedules()
