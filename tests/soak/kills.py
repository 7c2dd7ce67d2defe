"""The kill run: workers die and stand still under load, and the history must explain all of it.

``python -m soak.kills --minutes 10 --processes 4 --seed 1`` prints a report and, with ``--json``,
writes it for machines; the exit code is 1 if anything is broken. With ``--broker redis`` the
broker, too, is killed and stands still.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from soak import stream
from soak.app import KEY_LIMIT, LIMITS, heartbeat, make
from soak.brokers import NAMES, Broker, Served, broker
from soak.fleet import Fleet, Member, Place, Tail
from soak.report import BUSY, End, Outcome, judge
from support.history import ending
from support.history.events import LimitSet
from support.history.writer import Writer, now

LOOK = 0.02
#: So many more are wanted, as some end before the signal is there.
SPARE = 2
#: Limits that an operator sets on the lane "narrow", in turn, and how often (seconds).
TURNS, TURN = [3, 8, 5, 12], 7.0
#: The same lane is paused so often, and so long: longer than workers may take to be told.
#: Its tasks have their limit to wait for, so that no pause is taken for a slow recovery.
PAUSE_EVERY, PAUSED = 4.0, 3.0


@dataclass(slots=True, frozen=True)
class Plan:
    """What is to happen."""

    seconds: float
    processes: int = 4
    seed: int = 1
    lease: float = 2.0
    kills: int = 110
    stops: int = 10
    rate: float = 150.0
    concurrency: int = 24
    isolated: bool = True
    broker: str = "sqlite"
    broker_kills: int = 0
    broker_stops: int = 0

    @property
    def heartbeat(self) -> float:
        """The workers'."""
        return heartbeat(self.lease)

    @property
    def ahead(self) -> int:
        """Slots and prefetch of all workers together."""
        return self.processes * (self.concurrency + self.concurrency // 4)


async def carry_out(plan: Plan, folder: Path) -> Outcome:
    """Run it in this folder, which must be empty. Nothing it has started runs on."""
    with broker(plan.broker, folder) as used:
        return await _carry_out(plan, Place(folder, used, plan.lease, plan.isolated))


async def _carry_out(plan: Plan, place: Place) -> Outcome:
    writer = Writer(place.history)
    fleet = Fleet(place, plan.processes, plan.concurrency, writer)
    app, handlers = make(place.broker.url, str(place.history), plan.lease, isolated=plan.isolated)
    chance = random.Random(plan.seed)
    submits = stream.Stream(app, handlers, writer, chance, plan.rate)
    tail = Tail(place.history, writer)
    _note_limits(writer)
    try:
        async with app:
            await _strike_under_load(plan, fleet, submits, tail, chance)
            whole = await ending.drained(app, 60.0 + 4 * plan.lease)
            codes = await fleet.end()
            orphans = await tail.orphans(5.0)
            await ending.note(app, list(submits.ids), writer)
    finally:
        await fleet.end(0.0)
        writer.close()
    return judge(plan, place, fleet, submits, End(whole, codes, orphans))


def _note_limits(writer: Writer) -> None:
    """Those that the app declares hold from the beginning."""
    for lane, limit in LIMITS.items():
        writer.write(LimitSet(at=0.0, effective=0.0, limit=limit, lane=lane))
    for n in range(stream.USERS):
        writer.write(LimitSet(at=0.0, effective=0.0, limit=KEY_LIMIT, key=f"user{n}"))


async def _strike_under_load(
    plan: Plan, fleet: Fleet, submits: stream.Stream, tail: Tail, chance: random.Random
) -> None:
    app, writer = submits.app, submits.writer
    fleet.fill()
    beside = [
        asyncio.create_task(one)
        for one in (
            submits.run(),
            stream.watch(app, writer),
            stream.vary(app, writer, "narrow", TURNS, TURN),
            stream.pauses(app, writer, "narrow", PAUSE_EVERY, PAUSED),
            _look(tail, fleet),
        )
    ]
    producer = beside[0]
    striking = asyncio.create_task(_strikes(plan, fleet, tail, chance))
    try:
        done, _ = await asyncio.wait({striking, *beside}, return_when=asyncio.FIRST_COMPLETED)
        for one in done:
            one.result()  # only the strikes may end by themselves
        producer.cancel()
        await submits.finished(30.0)
        await ending.drained(app, 60.0 + 4 * plan.lease)
    finally:
        for one in (striking, *beside):
            one.cancel()
        await asyncio.gather(striking, *beside, return_exceptions=True)
    if submits.errors:
        raise submits.errors[0]


async def _look(tail: Tail, fleet: Fleet) -> None:
    while True:
        tail.look()
        fleet.fill()
        await asyncio.sleep(LOOK)


async def _strikes(plan: Plan, fleet: Fleet, tail: Tail, chance: random.Random) -> None:
    """Kills and stops at random times, each of a worker that is busy, until the time is over."""
    await _all_at_work(fleet, tail)
    warm = min(3.0, plan.seconds / 10)
    begun = now() + warm
    end = begun + plan.seconds - warm
    # The last lease of the run is left alone, so that everything can recover under load.
    last = end - plan.lease - 1.0
    kinds = ["kill"] * plan.kills + ["stop"] * plan.stops
    chance.shuffle(kinds)
    gap = (last - begun) / max(1, len(kinds))
    latest = 0.0
    stopping: asyncio.Task[bool] | None = None
    failing = asyncio.create_task(_fail(plan, fleet.place.broker, last, fleet.writer))
    try:
        for n, kind in enumerate(kinds):
            # Late ones do not follow at once: what is lost twice in a row must run alone, and what
            # the last one cost starts again after a lease.
            due = max(begun + gap * (n + chance.random() * 0.5), latest + min(gap, plan.lease + 1))
            await asyncio.sleep(due - now())
            if kind == "stop" and stopping is not None:
                await stopping  # one at a time
            victim = await _busy(fleet, tail, chance)
            latest = now()
            if kind == "stop":
                seconds = plan.lease * chance.uniform(1.5, 2.5)
                stopping = asyncio.create_task(fleet.stop(victim, seconds))
            else:
                fleet.kill(victim)
                tail.forget(victim.pid)
        await failing
        await asyncio.sleep(max(end, latest + plan.lease + 1.0) - now())
    finally:
        failing.cancel()
        if stopping is not None:
            await stopping


async def _fail(plan: Plan, used: Broker, last: float, writer: Writer) -> None:
    """Kill and stop the broker, if that is possible and wanted."""
    if isinstance(used, Served):
        # A stop that begins late must be over in time, and what comes after it, too.
        until = last - 2 * plan.lease
        chance = random.Random(plan.seed)
        kills, stops = plan.broker_kills, plan.broker_stops
        await used.strikes(kills, stops, plan.lease, until, writer, chance)


async def _all_at_work(fleet: Fleet, tail: Tail) -> None:
    """Wait until every worker has begun, which on a busy machine takes its time."""
    async with asyncio.timeout(60.0):
        while any(one.pid not in tail.began for one in fleet.awake()):
            tail.look()
            await asyncio.sleep(LOOK)


async def _busy(fleet: Fleet, tail: Tail, chance: random.Random) -> Member:
    """A worker with at least so many runs by the history, as soon as there is one.

    And as soon as half of the fleet is at work, so that there is somewhere to start again: on a
    busy machine a new process takes its time.
    """
    while True:
        tail.look()
        awake = list(fleet.awake())
        busy = [one for one in awake if tail.running(one.pid) >= BUSY + SPARE]
        others = sum(one.pid in tail.began for one in awake) - 1
        if busy and others >= fleet.size // 2:
            return chance.choice(busy)
        await asyncio.sleep(LOOK)


def main(arguments: list[str]) -> int:
    """Run by the command line's wishes; answers the exit code."""
    parser = argparse.ArgumentParser(prog="python -m soak.kills", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--lease", type=float, default=2.0, help="seconds; 2 or 15, say")
    parser.add_argument("--kills", type=int, help="by default 11 a minute")
    parser.add_argument("--stops", type=int, help="by default 1 a minute")
    parser.add_argument("--broker", choices=NAMES, default="sqlite")
    parser.add_argument("--broker-kills", type=int, help="of a server; by default 5")
    parser.add_argument("--broker-stops", type=int, help="of a server; by default 2")
    parser.add_argument("--rate", type=float, default=150.0, help="submits a second")
    parser.add_argument("--concurrency", type=int, default=24, help="slots of each process")
    parser.add_argument("--no-isolated", action="store_true", help="none in processes of their own")
    parser.add_argument("--json", type=Path, help="write the report there, too")
    parser.add_argument("--folder", type=Path, help="an empty one to work in, which is kept")
    given = parser.parse_args(arguments)
    plan = Plan(
        seconds=60.0 * given.minutes,
        processes=given.processes,
        seed=given.seed,
        lease=given.lease,
        kills=round(11 * given.minutes) if given.kills is None else given.kills,
        stops=round(given.minutes) if given.stops is None else given.stops,
        rate=given.rate,
        concurrency=given.concurrency,
        isolated=not given.no_isolated,
        broker=given.broker,
        broker_kills=_of_server(given, given.broker_kills, 5),
        broker_stops=_of_server(given, given.broker_stops, 2),
    )
    with tempfile.TemporaryDirectory(prefix="xqueue-soak-") as temporary:
        folder = Path(temporary) if given.folder is None else given.folder
        folder.mkdir(parents=True, exist_ok=True)
        outcome = asyncio.run(carry_out(plan, folder))
        print(outcome)
        if given.json is not None:
            given.json.write_text(json.dumps(outcome.as_json(), indent=1))
    return 0 if outcome.ok else 1


def _of_server(given: argparse.Namespace, number: int | None, default: int) -> int:
    if given.broker == "sqlite":
        return 0
    return default if number is None else number


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        sys.exit(main(sys.argv[1:]))
