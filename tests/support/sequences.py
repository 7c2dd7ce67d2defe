"""The same random sequences through the machine and through stored queues.

``PYTHONPATH=tests python -m support.sequences --count 100000 --seed 1`` runs many of them; a
difference names the sequence, and ``--only`` runs that one alone.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

import services
from support.lockstep import Lockstep
from support.modelled import Differs, Model, Side
from support.plans import Plan, plan, ticks
from support.redis_clock import ClockedLink, clocked
from support.stores import FakeClock, open_records
from xqueue_core.abc import TaskQueue, TaskView
from xqueue_core.stored.bell import LocalBell
from xqueue_core.stored.options import StoredOptions
from xqueue_core.stored.queue import StoredQueue
from xqueue_core.stored.records import Records
from xqueue_core.stored.view import StoredView
from xqueue_core.task import LIVE, Event
from xqueue_redis.events import read
from xqueue_redis.queue import RedisQueue
from xqueue_redis.view import RedisView

#: Sequences that run at once.
BATCH = 500
KINDS = ("memory", "sqlite-process", *services.KINDS)
#: Without a server.
EMBEDDED = KINDS[:2]
#: When every sequence begins: far ahead, so that no server's own clock is beyond a time of theirs.
BEGAN = 4e9
OPTIONS = StoredOptions(dedupe_horizon=200.0, client_retry=20.0, event_retention=1e10)

_event = msgspec.msgpack.Decoder(Event).decode


async def run(
    seed: int, count: int, kinds: Sequence[str] = EMBEDDED, only: int | None = None
) -> Counter[str]:
    """Run the sequences of a seed; how often each event happened. Raises Differs."""
    seen: Counter[str] = Counter()
    with ExitStack() as stack:
        servers = {
            kind: stack.enter_context(services.redis(kind))
            for kind in kinds
            if kind in services.KINDS
        }
        for first in range(0, count, BATCH):
            numbers: Sequence[int] = range(first, min(first + BATCH, count))
            if only is not None:
                numbers = [only] if only in numbers else []
            if numbers:
                seen.update(await _run_all(seed, first, numbers, kinds, servers))
    return seen


async def _run_all(
    seed: int,
    first: int,
    numbers: Sequence[int],
    kinds: Sequence[str],
    servers: Mapping[str, services.Server],
) -> Counter[str]:
    plans = [plan(seed, number) for number in numbers]
    try:
        models = [await _run_batch(seed, first, plans, kind, servers.get(kind)) for kind in kinds]
        # When upkeep comes to a task is a store's own affair, and the same to those of one kind.
        embedded = [model for kind, model in zip(kinds, models, strict=True) if kind in EMBEDDED]
        for others in embedded[1:]:
            _compare(embedded[0], others)
    except Differs as error:
        raise Differs(explain(seed, str(error))) from error
    return Counter(one[1] for model in models[0] for one in model.trace if isinstance(one, tuple))


def explain(seed: int, text: str) -> str:
    """What differed, the whole sequence, and how to run it alone."""
    number = int(text.removeprefix("sequence ").partition(",")[0])
    which = plan(seed, number)
    steps = "\n".join(f"  {n:2} {op}" for n, op in enumerate(which.ops))
    again = f"PYTHONPATH=tests python -m support.sequences --seed {seed} --only {number}"
    return f"{text}\n{which.task}\n{steps}\nrun it alone: {again}"


async def _run_batch(
    seed: int, first: int, plans: Sequence[Plan], kind: str, server: services.Server | None
) -> list[Model]:
    clock = FakeClock(BEGAN, BEGAN)

    def advance(seconds: float) -> None:
        clock.wall += seconds
        clock.steady += seconds

    opened = _embedded(kind, clock) if server is None else _on_redis(server, clock)
    async with opened as (queue, view, events):
        horizon, retry = OPTIONS.dedupe_horizon, OPTIONS.client_retry
        side = Side(queue, lambda: clock.wall, advance, events, horizon, retry)
        models = await Lockstep(side, plans, ticks(seed, first)).run()
        await _check_counts(view, models)
        return models


#: A queue, its view, and a reader of the events since the last time.
Opened = tuple[TaskQueue, TaskView, Callable[[], Awaitable[Sequence[Event]]]]


@asynccontextmanager
async def _embedded(kind: str, clock: FakeClock) -> AsyncIterator[Opened]:
    with tempfile.TemporaryDirectory(prefix="xqueue-sequences-") as folder:
        async with open_records(kind, Path(folder), clock) as records:
            queue, view = StoredQueue(records, LocalBell(), OPTIONS), StoredView(records, OPTIONS)
            yield queue, view, _log_reader(records)


def _log_reader(records: Records) -> Callable[[], Awaitable[Sequence[Event]]]:
    cursor = 0

    async def events() -> list[Event]:
        nonlocal cursor
        found: list[Event] = []
        while (log := await records.log(cursor, 1_000)).entries:
            cursor = log.entries[-1][0]
            found += (_event(event) for _, part in log.entries for event in part)
        return found

    return events


@asynccontextmanager
async def _on_redis(server: services.Server, clock: FakeClock) -> AsyncIterator[Opened]:
    async with clocked(server, lambda: clock.wall) as link:
        yield RedisQueue(link, OPTIONS), RedisView(link, OPTIONS), _stream_reader(link)


def _stream_reader(link: ClockedLink) -> Callable[[], Awaitable[Sequence[Event]]]:
    after = "-"

    async def events() -> list[Event]:
        nonlocal after
        found: list[Event] = []
        entries: Any = await link.command("XRANGE", f"{link.prefix}events", after, "+")
        for entry, (_, part) in entries:
            found += [event for event in read(part) if event is not None]
            after = f"({entry.decode()}"
        return found

    return events


async def _check_counts(view: TaskView, models: Sequence[Model]) -> None:
    """The ledger balances, and says how many tasks live."""
    total = (await view.stats()).total()
    states = Counter(model.record.state for model in models if model.record)
    wrong = [state for state in LIVE if getattr(total, state) != states[state]]
    if wrong or not total.conserved:
        raise Differs(f"sequence {models[0].plan.number}, at its end: the ledger says {total}")


def _compare(one: Sequence[Model], other: Sequence[Model]) -> None:
    for a, b in zip(one, other, strict=True):
        if a.trace != b.trace:
            number = a.plan.number
            raise Differs(f"sequence {number}, compared: {a.trace} and {b.trace}")


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=5_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int, help="run the sequence of this number alone")
    parser.add_argument("--kind", choices=KINDS, action="append", help="one store alone")
    given = parser.parse_args()
    count = given.count if given.only is None else given.only + 1
    began = time.monotonic()
    try:
        seen = asyncio.run(run(given.seed, count, given.kind or EMBEDDED, given.only))
    except Differs as error:
        raise SystemExit(str(error)) from None
    print(f"seed {given.seed}: {count if given.only is None else 1} sequences agree,",
          f"{seen.total()} events, {time.monotonic() - began:.0f} s")  # fmt: skip
    print(", ".join(f"{name} {n}" for name, n in seen.most_common()))


if __name__ == "__main__":
    main()
