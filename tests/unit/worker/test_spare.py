"""Threads for on_error functions, given to those who wait."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from support.workers import until
from xqueue_core.worker.host.on_asyncio import AsyncioHost
from xqueue_core.worker.spare import Spare

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    """The handlers' loop."""
    return "asyncio"


class Bench:
    """Spare threads, and calls that wait until they are released."""

    def __init__(self, most: int) -> None:
        self.spare = Spare(AsyncioHost(asyncio.get_running_loop()), most)
        self.made: list[int] = []
        self.unwanted: set[int] = set()
        self.waits: list[tuple[int, bool]] = []
        self.release: dict[int, threading.Event] = {}

    def call(self, n: int) -> asyncio.Task[Any]:
        """Ask for a thread, for this call."""
        self.release[n] = threading.Event()

        def call() -> int:
            self.made.append(n)
            self.release[n].wait(20)
            return n

        def waits(wait: bool) -> bool:
            self.waits.append((n, wait))
            return wait or n not in self.unwanted

        return asyncio.create_task(self.spare.run(call, waits))

    async def reached(self, condition: Callable[[], bool]) -> None:
        """Wait until it holds."""
        await until("it holds", condition, every=0.001)

    def close(self) -> None:
        """Let everything end."""
        for one in self.release.values():
            one.set()
        self.spare.close()


async def test_who_waits_is_served_in_order() -> None:
    bench = Bench(1)
    calls = [bench.call(n) for n in range(4)]
    await bench.reached(lambda: bench.made == [0] and len(bench.waits) == 3)
    for n in range(4):
        await bench.reached(lambda n=n: bench.made == list(range(n + 1)))  # type: ignore[misc]
        bench.release[n].set()
    assert await asyncio.gather(*calls) == [0, 1, 2, 3]
    bench.close()


@pytest.mark.parametrize("how", ["cancelled", "unwanted"])
async def test_the_thread_of_one_who_has_gone_is_the_next_ones(how: str) -> None:
    bench = Bench(1)
    first, second, third = (bench.call(n) for n in range(3))
    await bench.reached(lambda: bench.made == [0] and len(bench.waits) == 2)
    if how == "unwanted":
        bench.unwanted.add(1)
    else:  # in the very moment in which it is given the thread
        look = bench.spare._look

        def looks() -> None:
            look()
            if not bench.unwanted:
                bench.unwanted.add(1)
                second.cancel()

        bench.spare._look = looks  # type: ignore[method-assign]
    bench.release[0].set()
    assert await first == 0
    await bench.reached(lambda: bench.made == [0, 2])
    bench.release[2].set()
    assert await third == 2
    await asyncio.wait([second])
    assert second.cancelled() or second.result() is None
    bench.close()


async def test_one_who_leaves_while_he_waits_takes_nothing() -> None:
    bench = Bench(1)
    first, second, third = (bench.call(n) for n in range(3))
    await bench.reached(lambda: bench.made == [0] and len(bench.waits) == 2)
    second.cancel()
    await asyncio.wait([second])
    bench.release[0].set()
    await bench.reached(lambda: bench.made == [0, 2])
    bench.release[2].set()
    assert [await first, await third] == [0, 2]
    bench.close()


async def test_threads_that_do_not_come_back_refuse_and_then_serve_again() -> None:
    bench = Bench(2)
    stuck = [bench.call(n) for n in range(2)]
    await bench.reached(lambda: len(bench.made) == 2)
    waiting = bench.call(2)
    await bench.reached(lambda: len(bench.waits) == 1)
    for one in stuck:
        one.cancel()
    with pytest.raises(RuntimeError, match="not called: 2 earlier calls have not returned"):
        await waiting
    with pytest.raises(RuntimeError, match="not called: 2 earlier"):
        await bench.call(3)
    bench.release[0].set()
    await bench.reached(lambda: bench.spare._stuck == 1)
    again = bench.call(4)
    await bench.reached(lambda: 4 in bench.made)
    bench.release[4].set()
    assert await again == 4
    bench.close()
