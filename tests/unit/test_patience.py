"""Time-outs that share a timer end as those of asyncio do."""

from __future__ import annotations

import asyncio
from unittest.mock import patch

import pytest

from support.virtual import run
from xqueue_core.patience import Patience


def now() -> float:
    return asyncio.get_running_loop().time() - 1000.0


def test_what_ends_in_time_is_left_alone_and_needs_one_timer_for_all() -> None:
    async def main() -> int:
        patience, loop = Patience(), asyncio.get_running_loop()
        with patch.object(loop, "call_at", wraps=loop.call_at) as timers:
            for _ in range(20):
                with patience.within(5.0):
                    await asyncio.sleep(0)
        return timers.call_count

    assert run(main()) == 1


@pytest.mark.parametrize("seconds", [0.0, -1.0, 2.0])
def test_what_takes_too_long_ends_at_its_time(seconds: float) -> None:
    async def main() -> float:
        patience = Patience()
        with patience.within(1.0):
            pass
        with pytest.raises(TimeoutError), patience.within(seconds):
            await asyncio.sleep(100)
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        await asyncio.sleep(0)  # nothing is left over
        return now()

    assert run(main()) == pytest.approx(max(seconds, 0.0))


def test_the_shorter_ends_first_and_the_others_at_their_own_time() -> None:
    async def main() -> list[tuple[float, float]]:
        patience, ends = Patience(), []

        async def one(seconds: float) -> None:
            with pytest.raises(TimeoutError), patience.within(seconds):
                await asyncio.sleep(100)
            ends.append((seconds, now()))

        await asyncio.gather(*map(one, (5.0, 1.0, 3.0, 3.0)))
        return ends

    ends = run(main())
    assert [seconds for seconds, _ in ends] == [1.0, 3.0, 3.0, 5.0]
    assert all(at == pytest.approx(seconds) for seconds, at in ends)


@pytest.mark.parametrize(("inner", "outer"), [(1.0, 3.0), (3.0, 1.0)])
def test_of_two_around_one_another_each_ends_its_own(inner: float, outer: float) -> None:
    async def main() -> str:
        patience = Patience()
        try:
            with patience.within(outer):
                try:
                    with patience.within(inner):
                        await asyncio.sleep(100)
                except TimeoutError:
                    return f"inner at {now():g}"
        except TimeoutError:
            return f"outer at {now():g}"
        return "none"

    assert run(main()) == ("inner at 1" if inner < outer else "outer at 1")


def test_a_cancel_stays_one_also_where_the_time_is_up() -> None:
    async def main() -> list[bool]:
        patience = Patience()

        async def one() -> None:
            with patience.within(1.0):
                await asyncio.sleep(100)

        found = []
        for wait in (0.5, 1.0):
            task = asyncio.create_task(one())
            await asyncio.sleep(0)
            asyncio.get_running_loop().call_later(wait, task.cancel)
            await asyncio.wait([task])
            found.append(task.cancelled())
        return found

    assert run(main()) == [True, True]


def test_what_else_is_raised_is_raised() -> None:
    async def main() -> None:
        with Patience().within(1.0):
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        run(main())


def test_on_another_loop_it_begins_anew() -> None:
    patience = Patience()

    async def main() -> float:
        with pytest.raises(TimeoutError), patience.within(1.0):
            await asyncio.sleep(100)
        return now()

    assert [run(main()), run(main())] == pytest.approx([1.0, 1.0])


def test_without_a_task_it_raises() -> None:
    async def main() -> BaseException | None:
        found: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()

        def begin() -> None:
            try:
                with Patience().within(1.0):
                    found.set_result(None)
            except RuntimeError as error:
                found.set_result(error)

        asyncio.get_running_loop().call_soon(begin)
        return await found

    assert isinstance(run(main()), RuntimeError)
