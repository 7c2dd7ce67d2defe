"""Runs cases without pytest: each on a bench of its own, by a deadline, with the ledger's check."""

from __future__ import annotations

import random
import time
import traceback
from collections.abc import Callable, Collection, Iterable
from functools import partial

import anyio

from xqueue_core.conformance.bench import Bench
from xqueue_core.conformance.cases import Case, all_cases, choose
from xqueue_core.conformance.check import Broken
from xqueue_core.conformance.harness import Harness
from xqueue_core.conformance.ledger import audit
from xqueue_core.conformance.pace import Pace, brisk
from xqueue_core.conformance.report import Report, Result
from xqueue_core.errors import BrokerError, Unavailable

#: Seconds within which a backend is open and closed again, before any case is tried.
OPENS = 30.0

#: Called with each result as it comes.
Progress = Callable[[Result], None]


def run(
    harness: Harness,
    *,
    loop: str = "asyncio",
    only: Collection[str] = (),
    cases: Iterable[Case] | None = None,
    at_once: int = 1,
    progress: Progress | None = None,
) -> Report:
    """Run the kit on a backend, on an event loop of its own.

    Args:
        harness: opens the backend.
        loop: ``asyncio`` or ``uvloop``.
        only: ids of cases; by default all that concern the backend. The report says that it
            is partial.
        cases: another list than the kit's own.
        at_once: how many cases run at the same time, each in its own namespace.
        progress: called with each result.

    Raises ValueError if ``only`` names a case that does not exist.
    """
    listed = list(all_cases() if cases is None else cases)
    unknown = set(only) - {one.id for one in listed}
    if unknown:
        raise ValueError(f"no such cases: {', '.join(sorted(unknown))}")
    chosen, not_chosen = choose(harness, listed)
    report = Report(harness.name, loop, [one.id for one in chosen], not_chosen)
    if only:
        chosen = [one for one in chosen if one.id in only]
        asked = f"{len(set(only))} cases were" if len(set(only)) > 1 else "one case was"
        idle = [f"; {id} did not run: {not_chosen[id]}" for id in only if id in not_chosen]
        report.partial = f"only {asked} asked for{''.join(idle)}"

    def done(result: Result) -> None:
        report.add(result)
        if progress is not None:
            progress(result)

    began = time.monotonic()
    on_loop(loop, partial(_run_all, harness, chosen, at_once, done))
    report.seconds = time.monotonic() - began
    return report


def try_to_open(harness: Harness, loop: str = "asyncio") -> None:
    """Open the backend once, and close it: all cases do so, and none runs if this fails.

    Raises Unavailable if it cannot be opened, or not within half a minute, times the harness's
    ``time_scale``; else what the backend's ``open`` raises.
    """

    async def opens() -> None:
        seconds = OPENS * harness.time_scale
        why = f"it does not open and close within {seconds:g} s"
        with anyio.move_on_after(seconds):
            try:
                async with harness.open(_namespace("open"), {}):
                    pass
                return
            except BrokerError as error:
                why = str(error)
        raise Unavailable(f"the backend could not be opened, so no case was tried: {why}")

    on_loop(loop, opens)


def on_loop(loop: str, main: Callable[[], object]) -> None:
    """Run an async function on a new event loop of this kind."""
    with brisk():
        anyio.run(main, backend_options={"use_uvloop": loop == "uvloop"})  # type: ignore[arg-type]


def run_cases(
    harness: Harness, cases: list[Case], loop: str = "asyncio", at_once: int = 1
) -> list[Result]:
    """Run these cases on an event loop of their own, and give their results as they came."""
    results: list[Result] = []
    on_loop(loop, partial(_run_all, harness, cases, at_once, results.append))
    return results


async def _run_all(harness: Harness, cases: list[Case], at_once: int, done: Progress) -> None:
    limit = anyio.CapacityLimiter(at_once)

    async def one(case: Case) -> None:
        async with limit:
            done(await run_case(harness, case))

    async with anyio.create_task_group() as group:
        for case in cases:
            if not case.alone:
                group.start_soon(one, case)
    for case in cases:
        if case.alone:
            await one(case)


async def run_case(harness: Harness, case: Case) -> Result:
    """Run one case; what goes wrong is told in the result."""
    started = time.monotonic()
    message = ""
    try:
        seconds = case.deadline * harness.time_scale
        with anyio.fail_after(seconds) as scope:
            bench = Bench(harness, case, namespace_for(case), Pace(scope, seconds))
            async with bench.open():
                await case.story(bench)
                await audit(bench)
    except TimeoutError as error:
        message = f"did not end within {case.deadline:g} s\n{_told(error)}"
    # A case that raises anything has failed, whatever the backend raised.
    except Exception as error:  # noqa: BLE001
        message = _told(error)
    return Result(case.id, not message, time.monotonic() - started, case.doc, message)


def namespace_for(case: Case) -> str:
    """A namespace that nothing else uses."""
    return _namespace(case.id.lower().replace(".", "-"))


def _namespace(name: str) -> str:
    return f"kit-{name}-{random.SystemRandom().getrandbits(40):010x}"


def _told(error: BaseException) -> str:
    """What went wrong, for the report: a sentence where the kit knows one, else where it was."""
    errors = _leaves(error)
    broken = [one for one in errors if isinstance(one, Broken)]
    return "\n".join(
        f"{_where(one)}{one}" if isinstance(one, Broken) else _trace(one)
        for one in broken or errors
    )


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in _leaves(inner)]
    return [error]


def _where(error: BaseException) -> str:
    """The line of the case that failed."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if "/conformance/groups/" in frame.filename.replace("\\", "/"):
            return f"line {frame.lineno} of {frame.filename.rpartition('/')[2]}: "
    return ""


def _trace(error: BaseException) -> str:
    return "".join(traceback.format_exception(error)).strip()
