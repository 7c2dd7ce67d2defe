"""The clocks of a rehearsal, and the loop that jumps over its waits."""

from __future__ import annotations

import asyncio
import threading
import time

from xqueue_core.testing.clock import VirtualClock
from xqueue_core.testing.loop import VirtualLoop


def test_the_wall_clock_stands_still_until_it_is_set_and_never_goes_back() -> None:
    clock = VirtualClock(5000.0)
    assert clock.now().wall == clock.wall() == 5000.0
    clock.jump(100.0)
    assert clock.wall() == 5000.0
    clock.set(6000.0)
    clock.set(5500.0)
    assert clock.wall() == 6000.0


def test_the_steady_clock_flows_and_jumps_and_is_not_moved_by_the_wall_clock() -> None:
    clock = VirtualClock(0.0)
    before = clock.steady()
    assert 0.0 <= clock.steady() - before < 50.0
    clock.set(1e9)
    assert clock.steady() - before < 50.0
    clock.jump(3600.0)
    clock.jump(-10.0)
    assert 3600.0 <= clock.steady() - before < 3650.0
    assert 3600.0 <= clock.now().steady - before < 3650.0
    assert clock.now().epoch == clock.now().epoch


def loop_of(clock: VirtualClock, busy: bool = False) -> VirtualLoop:
    def idle() -> None:
        asked.append(clock.steady())
        loop.pass_time()

    asked: list[float] = []
    loop = VirtualLoop(clock, lambda: busy, idle)
    return loop


def test_waits_take_no_time_while_nobody_is_busy() -> None:
    clock = VirtualClock(0.0)
    begun = time.monotonic()
    with asyncio.Runner(loop_factory=lambda: loop_of(clock)) as runner:
        before = clock.steady()
        runner.run(asyncio.sleep(36_000))
        assert clock.steady() - before >= 36_000
    assert time.monotonic() - begun < 30


def test_waits_are_real_while_somebody_is() -> None:
    clock = VirtualClock(0.0)
    begun = time.monotonic()
    with asyncio.Runner(loop_factory=lambda: loop_of(clock, busy=True)) as runner:
        runner.run(asyncio.sleep(0.1))
    assert time.monotonic() - begun >= 0.09


def test_another_thread_is_heard_although_no_timer_is_set() -> None:
    clock = VirtualClock(0.0)

    async def main() -> None:
        said = asyncio.get_running_loop().create_future()
        loop = asyncio.get_running_loop()
        threading.Timer(0.1, loop.call_soon_threadsafe, (said.set_result, None)).start()
        await said

    with asyncio.Runner(loop_factory=lambda: loop_of(clock)) as runner:
        runner.run(main())
