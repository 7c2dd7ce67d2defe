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
from collections.abc import Sequence
from pathlib import Path

import msgspec

from support.lockstep import Lockstep
from support.modelled import Differs, Model, Side
from support.plans import Plan, plan, ticks
from support.stores import FakeClock, open_records
from xqueue_core.stored.bell import LocalBell
from xqueue_core.stored.options import StoredOptions
from xqueue_core.stored.queue import StoredQueue
from xqueue_core.stored.records import Records
from xqueue_core.task import FINAL, LIVE, Event

#: Sequences that run at once.
BATCH = 500
KINDS = ("memory", "sqlite-process")
OPTIONS = StoredOptions(dedupe_horizon=200.0, client_retry=20.0, event_retention=1e9)

_event = msgspec.msgpack.Decoder(Event).decode


async def run(
    seed: int, count: int, kinds: Sequence[str] = KINDS, only: int | None = None
) -> Counter[str]:
    """Run the sequences of a seed; how often each event happened. Raises Differs."""
    seen: Counter[str] = Counter()
    for first in range(0, count, BATCH):
        numbers: Sequence[int] = range(first, min(first + BATCH, count))
        if only is not None:
            numbers = [only] if only in numbers else []
        if not numbers:
            continue
        plans = [plan(seed, number) for number in numbers]
        try:
            models = [await _run_batch(seed, first, plans, kind) for kind in kinds]
            for others in models[1:]:
                _compare(models[0], others)
        except Differs as error:
            raise Differs(explain(seed, str(error))) from error
        for model in models[0]:
            seen.update(one[1] for one in model.trace if isinstance(one, tuple))
    return seen


def explain(seed: int, text: str) -> str:
    """What differed, the whole sequence, and how to run it alone."""
    number = int(text.removeprefix("sequence ").partition(",")[0])
    which = plan(seed, number)
    steps = "\n".join(f"  {n:2} {op}" for n, op in enumerate(which.ops))
    again = f"PYTHONPATH=tests python -m support.sequences --seed {seed} --only {number}"
    return f"{text}\n{which.task}\n{steps}\nrun it alone: {again}"


async def _run_batch(seed: int, first: int, plans: Sequence[Plan], kind: str) -> list[Model]:
    clock = FakeClock()
    with tempfile.TemporaryDirectory(prefix="xqueue-sequences-") as folder:
        async with open_records(kind, Path(folder), clock) as records:
            queue = StoredQueue(records, LocalBell(), OPTIONS)
            cursor = 0

            async def events() -> list[Event]:
                nonlocal cursor
                found: list[Event] = []
                while (log := await records.log(cursor, 1_000)).entries:
                    cursor = log.entries[-1][0]
                    found += (_event(event) for _, part in log.entries for event in part)
                return found

            def advance(seconds: float) -> None:
                clock.wall += seconds
                clock.steady += seconds

            horizon, retry = OPTIONS.dedupe_horizon, OPTIONS.client_retry
            side = Side(queue, lambda: clock.wall, advance, events, horizon, retry)
            models = await Lockstep(side, plans, ticks(seed, first)).run()
            await _check_counts(records, models)
            return models


async def _check_counts(records: Records, models: Sequence[Model]) -> None:
    """The ledger balances, and says how many tasks live."""
    total: Counter[str] = Counter()
    for name, n in await records.counts("c/", "", 1_000_000):
        total[name.rpartition("/")[2]] += n
    states = Counter(model.record.state for model in models if model.record)
    wrong = {state: total[state] for state in LIVE if total[state] != states[state]}
    live, final = sum(total[state] for state in LIVE), sum(total[state] for state in FINAL)
    if wrong or total["accepted"] + total["replayed"] != live + final:
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
        seen = asyncio.run(run(given.seed, count, given.kind or KINDS, given.only))
    except Differs as error:
        raise SystemExit(str(error)) from None
    print(f"seed {given.seed}: {count if given.only is None else 1} sequences agree,",
          f"{seen.total()} events, {time.monotonic() - began:.0f} s")  # fmt: skip
    print(", ".join(f"{name} {n}" for name, n in seen.most_common()))


if __name__ == "__main__":
    main()
