"""A task that may have killed its workers: it waits alone, says so, and starts last (P1.1)."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from support.apps import make_app
from support.fake_queue import delivery
from support.fake_semaphore import FakeSemaphore
from support.virtual import run
from unit.worker.parts import settle_down
from unit.worker.test_life import Living, make
from xqueue_core.calls import Beat, BeatReply, Held, Hold
from xqueue_core.errors import Unavailable, Unknown
from xqueue_core.task import Canceled, HandBack, Parked, Success

SUSPECT = "job:suspect"
#: Of an engine whose heartbeats come so seldom that one which was asked for stands out.
SELDOM: dict[str, Any] = {"heartbeat": 3.0, "lease": 15.0}


class Suspecting(Living):
    """A worker that has registered, and a suspect on its way to it."""

    def __init__(self, semaphore: FakeSemaphore | None = None, **fields: Any) -> None:
        app, self.started = make()
        super().__init__(app, semaphore, **SELDOM)
        self.suspect = delivery("suspect", token=7, losses=2, **fields)

    async def arrive(self, *neighbours: str, before: Callable[[], object] = bool) -> None:
        """Neighbours start, then the suspect comes; no heartbeat is due for a while."""
        await asyncio.sleep(0.5)
        self.queue.add(*(delivery(name) for name in neighbours))
        await asyncio.sleep(0.1)
        self.queue.beats.clear()
        self.queue.waiting.clear()
        before()
        self.queue.add(self.suspect)

    @property
    def said(self) -> list[bool]:
        """Of each heartbeat that named the suspect: whether it said that it waits."""
        pairs = zip(self.queue.beats, self.queue.waiting, strict=True)
        return [SUSPECT in waits for (_, held), waits in pairs if (SUSPECT, 7) in held]


def test_one_that_need_not_wait_starts_after_one_heartbeat() -> None:
    async def main() -> None:
        living = Suspecting()
        await living.arrive()
        await settle_down(50)
        assert living.started == ["job"], "at once, not at the next heartbeat"
        assert living.said == [False]
        ends = await living.settled(1)
        assert ends == {"suspect": Success()}
        await living.stop()

    run(main())


def test_while_it_waits_every_heartbeat_says_so_and_the_last_before_its_start_does_not() -> None:
    async def main() -> None:
        living = Suspecting()
        await living.arrive("neighbour")
        await settle_down(50)
        assert living.said == [True], "said at its arrival"
        await asyncio.sleep(8)
        assert living.said == [True] * 3, "and every three seconds"
        assert living.started == ["job"]
        await living.settled(1)
        assert living.said == [True] * 4 + [False], "asked for when the neighbour was recorded"
        assert living.started == ["job", "job"]
        await living.settled(2)
        assert not any(living.said[living.said.index(False) :])
        await living.stop()

    run(main())


def test_a_heartbeat_under_way_does_not_count() -> None:
    """It was sent before, and says that the suspect waits."""

    async def main() -> None:
        living = Suspecting()
        await living.arrive("neighbour")
        gate, extend = asyncio.Event(), living.queue.extend

        async def slow(beat: Beat, held: Sequence[Held]) -> BeatReply:
            reply = await extend(beat, held)
            await gate.wait()
            return reply

        await asyncio.sleep(8.5)
        living.queue.extend = slow  # type: ignore[method-assign]
        await living.settled(1)  # at 10 s; the heartbeat of 9 s is under way
        await settle_down(50)
        assert (living.started, living.said[-1]) == (["job"], True)
        gate.set()
        await settle_down(50)
        assert (living.started, living.said[-1]) == (["job", "job"], False)
        await living.stop()

    run(main())


@pytest.mark.parametrize("way", ["fail", "lose"])
def test_it_does_not_start_before_a_heartbeat_is_acknowledged(way: str) -> None:
    """Whether the broker was not reached, or its answer did not arrive."""

    async def main() -> None:
        living = Suspecting()
        errors = {"fail": Unavailable("away"), "lose": Unknown("the reply was lost")}
        script = getattr(living.queue, way)
        await living.arrive(before=lambda: script.update(extend=deque([errors[way]] * 2)))
        await asyncio.sleep(5.5)  # at once, and three seconds later
        assert (living.started, living.said) == ([], [False, False])
        ends = await living.settled(1)
        assert ends == {"suspect": Success()}
        assert not any(living.said)
        await living.stop()

    run(main())


def _cancel(living: Suspecting) -> None:
    living.queue.holds[SUSPECT] = Hold.CANCELED


def _pause(living: Suspecting) -> None:
    living.queue.reply = BeatReply(paused=["job"])


def _quiet(living: Suspecting) -> None:
    living.queue.reply = BeatReply(quiet=True)


@pytest.mark.parametrize(
    ("word", "end"),
    [
        (_cancel, Canceled()),
        (_pause, HandBack(reason="paused")),
        (_quiet, HandBack(reason="quiet")),
    ],
)
def test_what_the_acknowledging_heartbeat_brings_comes_first(
    word: Callable[[Suspecting], None], end: object
) -> None:
    async def main() -> None:
        living = Suspecting()
        await asyncio.sleep(0.1)
        lost: deque[Exception] = deque([Unknown("the reply was lost")])
        await living.arrive(before=lambda: living.queue.lose.update(extend=lost))
        await asyncio.sleep(0.1)
        assert living.said == [False]
        word(living)
        ends = await living.settled(1)
        assert ends == {"suspect": end}
        assert living.started == []
        await living.stop()

    run(main())


def test_one_that_is_lost_meanwhile_is_not_settled() -> None:
    async def main() -> None:
        living = Suspecting()
        living.queue.holds[SUSPECT] = Hold.LOST
        await living.arrive()
        await asyncio.sleep(5)
        assert (living.started, living.queue.settled) == ([], {})
        assert not living.engine.solitary.busy
        await living.stop()

    run(main())


@pytest.mark.parametrize("between", [False, True])
def test_a_stop_hands_it_back_and_it_waits_to_the_last(between: bool) -> None:
    """Also while the heartbeat is under way that would let it start."""

    async def main() -> None:
        living = Suspecting()
        hangs = living.queue.hang
        if between:
            await living.arrive(before=lambda: hangs.add("extend"))
        else:
            await living.arrive("neighbour")
        await settle_down(50)
        assert living.said[-1:] == [not between]
        living.queue.hang.clear()
        living.queue.hang.add("settle")
        living.life.stop()
        await asyncio.sleep(4)
        assert living.said[-1], "handed back, but not recorded yet: it never ran"
        await living.task
        [end] = [one.outcome for one in living.queue.settles[0] if one.id == SUSPECT]
        assert end == HandBack(reason="stop")
        assert len(living.started) == (0 if between else 1)

    run(main())


def test_it_waits_until_its_key_has_a_permit() -> None:
    async def main() -> None:
        semaphore = FakeSemaphore()
        living = Suspecting(semaphore, key="k", key_limit=1)
        away: deque[Exception] = deque([Unavailable("away")] * 8)
        await living.arrive(before=lambda: semaphore.fail.update(acquire=away))
        while away:
            assert (living.started, any(not one for one in living.said)) == ([], False)
            await asyncio.sleep(0.01)
        ends = await living.settled(1)
        assert ends == {"suspect": Success()}
        assert living.said[0]
        assert not any(living.said[living.said.index(False) :])
        await living.stop()

    run(main())


def test_a_saturated_key_parks_it_without_a_start() -> None:
    async def main() -> None:
        semaphore = FakeSemaphore()
        semaphore.holders["key:job:k"]["other"] = "w~2"
        living = Suspecting(semaphore, key="k", key_limit=1)
        await living.arrive()
        ends = await living.settled(1)
        assert ends == {"suspect": Parked()}
        assert (living.started, living.engine.solitary.busy) == ([], False)
        assert all(living.said)
        await living.stop()

    run(main())


def test_it_waits_longer_each_time_so_that_it_starts_in_the_end() -> None:
    """Among neighbours that outlast the grace time it would be handed back for ever."""

    async def main() -> None:
        app, _ = make()
        living = Living(app, grace=3.0, **SELDOM)
        await asyncio.sleep(0.5)
        waited = []
        for token in (7, 8, 9):
            living.queue.add(delivery(f"neighbour {token}"))
            await asyncio.sleep(0.1)
            since = living.tools.clock()
            living.queue.add(delivery("suspect", token=token, losses=2))
            while (SUSPECT, token) not in living.queue.settled:
                await asyncio.sleep(0.1)
            waited.append(living.tools.clock() - since)
            while len(living.queue.settled) % 2:
                await asyncio.sleep(0.1)
        ends = [living.queue.settled[SUSPECT, token] for token in (7, 8, 9)]
        back = HandBack(reason="others run here", unable="alone")
        assert ends == [back, back, Success()]
        assert waited[0] < 7 < waited[1] < 10
        await living.stop()

    run(main())


def test_it_waits_no_longer_for_what_may_never_end() -> None:
    """Nothing is fetched meanwhile: the other slots would stand idle for longer and longer."""

    async def main() -> None:
        app = make_app()

        @app.task
        async def job() -> None:
            await asyncio.sleep(1e6)

        living = Living(app, grace=3.0, **SELDOM)
        living.queue.add(delivery("neighbour", process_timeout=None))
        await asyncio.sleep(0.5)
        waited = []
        for token in (7, 8, 9):
            since = living.tools.clock()
            living.queue.add(delivery("suspect", token=token, losses=2))
            while (SUSPECT, token) not in living.queue.settled:
                await asyncio.sleep(0.1)
            waited.append(living.tools.clock() - since)
        assert max(waited) < 7  # it is looked after every three seconds
        living.task.cancel()
        await asyncio.gather(living.task, return_exceptions=True)

    run(main())
