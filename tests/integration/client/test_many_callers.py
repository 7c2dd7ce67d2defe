"""One app object, used from everywhere at once: nothing is lost, and nothing doubled."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from support.apps import declare, make_app
from support.forks import FORK_WARNING, Child
from support.plain import clients
from xqueue_core import XQueue
from xqueue_core.views import Filter, Stats

THREADS, LOOPS, CHILDREN = 100, 10, 5
#: Tasks that each thread, each loop and each child submits.
EACH = 20


class Callers:
    """Threads that begin together; what one of them raises is raised by :meth:`join`."""

    def __init__(self, count: int) -> None:
        self.ready = threading.Barrier(count)
        self.errors: list[BaseException] = []
        self._threads: list[threading.Thread] = []

    def add(self, main: Callable[[], object]) -> None:
        """One more."""

        def run() -> None:
            try:
                self.ready.wait(60)
                main()
            except BaseException as error:
                self.errors.append(error)

        self._threads.append(threading.Thread(target=run))
        self._threads[-1].start()

    def join(self) -> None:
        """Wait for all of them."""
        for one in self._threads:
            one.join(100)
            assert not one.is_alive(), "a caller hangs"
        if self.errors:
            raise self.errors[0]


def ids(who: str) -> list[str]:
    """The ids of one caller's tasks."""
    return [f"{who}.{n}" for n in range(EACH)]


def expected() -> set[str]:
    counts = {"thread": THREADS, "loop": LOOPS, "child": CHILDREN}
    return {
        f"thumbnail:{one}"
        for kind, count in counts.items()
        for number in range(count)
        for one in ids(f"{kind}{number}")
    }


async def stored(app: XQueue) -> tuple[list[str], Stats]:
    """The ids of all tasks there are, and the broker's own count of them."""
    found: list[str] = []
    async with app.connect() as connection:
        view, after = connection.faces.needed("view"), None
        while True:
            page = await view.list(Filter(), after, 500)
            found += [one.id for one in page.items]
            if (after := page.next) is None:
                return found, await view.stats()


@pytest.mark.filterwarnings(FORK_WARNING)
@pytest.mark.timeout(240)
def test_threads_loops_and_forked_children_submit_through_one_app(tmp_path: Path) -> None:
    app = make_app(f"sqlite:///{tmp_path}/tasks.db")
    thumbnail = declare(app)

    def in_plain_code(who: str) -> None:
        for n, id in enumerate(ids(who)):
            handle = thumbnail.sync.options(id=id).submit(f"{n}.png")
            assert (handle.id, handle.duplicate) == (f"thumbnail:{id}", False)

    def on_a_loop(who: str) -> None:
        async def main() -> None:
            submits = [thumbnail.options(id=id).submit(f"{id}.png") for id in ids(who)]
            assert not any(one.duplicate for one in await asyncio.gather(*submits))
            await app.aclose()

        asyncio.run(main())

    callers = Callers(THREADS + LOOPS + 1)
    for n in range(THREADS):
        callers.add(lambda who=f"thread{n}": in_plain_code(who))  # type: ignore[misc]
    for n in range(LOOPS):
        callers.add(lambda who=f"loop{n}": on_a_loop(who))  # type: ignore[misc]
    callers.ready.wait(60)
    # Forked off while the others submit: whatever they hold at this moment is held in the child.
    children = [
        Child(lambda who=f"child{n}": in_plain_code(who))  # type: ignore[misc]
        for n in range(CHILDREN)
    ]
    callers.join()
    assert [one.join() for one in children] == [0] * CHILDREN
    assert clients() == 1

    found, stats = asyncio.run(stored(app))
    assert sorted(found) == sorted(expected())
    total = stats.total()
    assert (total.accepted, total.duplicates) == (len(expected()), 0)
    app.sync.close()
