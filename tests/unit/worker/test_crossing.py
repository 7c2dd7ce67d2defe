"""The seam between engine and handlers."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

from xqueue_core.worker.crossing import Pipe


class Later:
    """A schedule that runs nothing until told."""

    def __init__(self) -> None:
        self.callbacks: list[Callable[[], None]] = []

    def __call__(self, callback: Callable[[], None]) -> None:
        self.callbacks.append(callback)

    def run(self) -> None:
        """Run what was scheduled."""
        callbacks, self.callbacks = self.callbacks, []
        for callback in callbacks:
            callback()


def test_what_gathers_crosses_by_one_call() -> None:
    later = Later()
    got: list[list[int]] = []
    pipe: Pipe[int] = Pipe(later)
    pipe.connect(got.append)
    for n in range(5):
        pipe.send(n)
    assert len(later.callbacks) == 1
    later.run()
    assert got == [[0, 1, 2, 3, 4]]
    pipe.send(5)
    later.run()
    assert got == [[0, 1, 2, 3, 4], [5]]


def test_an_item_sent_while_a_batch_is_delivered_comes_with_the_next() -> None:
    later = Later()
    got: list[list[int]] = []
    pipe: Pipe[int] = Pipe(later)

    def receive(batch: list[int]) -> None:
        got.append(batch)
        if batch == [1]:
            pipe.send(2)

    pipe.connect(receive)
    pipe.send(1)
    later.run()
    later.run()
    assert got == [[1], [2]]


def test_what_is_sent_before_there_is_a_receiver_is_kept() -> None:
    later = Later()
    got: list[list[int]] = []
    pipe: Pipe[int] = Pipe(later)
    pipe.send(1)
    assert not later.callbacks
    pipe.connect(got.append)
    later.run()
    assert got == [[1]]


def test_nothing_is_lost_or_reordered_from_many_threads() -> None:
    got: list[tuple[int, int]] = []

    async def main() -> None:
        pipe: Pipe[tuple[int, int]] = Pipe(asyncio.get_running_loop().call_soon_threadsafe)
        pipe.connect(got.extend)

        def send(thread: int) -> None:
            for n in range(2000):
                pipe.send((thread, n))

        threads = [threading.Thread(target=send, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        async with asyncio.timeout(20):
            while len(got) < 8000:
                await asyncio.sleep(0.001)
        for thread in threads:
            thread.join()

    asyncio.run(main())
    for thread in range(4):
        assert [n for by, n in got if by == thread] == list(range(2000))


def test_sending_to_a_closed_loop_does_no_harm() -> None:
    loop = asyncio.new_event_loop()
    pipe: Pipe[int] = Pipe(loop.call_soon_threadsafe)
    got: list[list[int]] = []
    pipe.connect(got.append)
    loop.close()
    pipe.send(1)
    assert got == []
