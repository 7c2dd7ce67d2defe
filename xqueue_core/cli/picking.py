"""Many tasks at once: which are meant, whether that is right, and what became of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

import click

from xqueue_core.cli.params import DURATION

if TYPE_CHECKING:
    from xqueue_core.calls import AnyCommand, Did
    from xqueue_core.cli.caller import Caller
    from xqueue_core.views import Filter, TaskInfo

T = TypeVar("T")

#: States of tasks that have not ended.
LIVE = ("scheduled", "pending", "processing")
#: Tasks that were not done which are named one by one.
NAMED = 20


def confirmed(command: Callable[..., T]) -> Callable[..., T]:
    """Give a command ``--dry-run`` and ``--yes``."""
    dry = click.option("--dry-run", is_flag=True, help="Count them, and change nothing.")
    return dry(click.option("--yes", is_flag=True, help="Do not ask.")(command))


def why_option(command: Callable[..., T]) -> Callable[..., T]:
    """Give a command ``--error`` and ``--older-than``."""
    older = click.option(
        "--older-than", type=DURATION, help="Ended, or else accepted, longer ago: 7d."
    )
    error = click.option("--error", callback=_text, help="With this text in type or message.")
    return older(error(command))


def _text(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    if value == "":  # most probably a variable of a script that is not set
        raise click.UsageError("--error: an empty text is in every task")
    return value


@dataclass(frozen=True, slots=True)
class Pick:
    """Which tasks are meant.

    Attributes:
        filter: what the broker looks for.
        error: this text is in the type, the message or the reason of the failure.
        older_than: they ended longer ago, or were accepted if they have not ended (seconds, by
            the broker's clock).
        quarantined: they are damaged; else they are not.
        ids: instead of all this, these.
    """

    filter: Filter
    error: str | None = None
    older_than: float | None = None
    quarantined: bool = False
    ids: Sequence[str] = ()

    def wanted(self, info: TaskInfo, now: float) -> bool:
        """True if the task is one of them, as far as the broker's filter does not tell."""
        if info.quarantined is not self.quarantined:
            return False
        at = info.finished_at or info.accepted_at
        if self.older_than is not None and not 0 < at <= now - self.older_than:
            return False
        if self.error is None:
            return True
        failure = info.failure
        texts = [info.reason]
        texts += [] if failure is None else [failure.reason, failure.type, failure.message]
        return any(self.error.lower() in text.lower() for text in texts)


def picked(
    states: Sequence[str],
    types: Sequence[str],
    lanes: Sequence[str],
    error: str | None,
    older_than: float | None,
    default: Sequence[str],
) -> Pick:
    """What a command's options mean; ``default`` are the states if none is given.

    Raises UsageError if ``quarantined`` stands among other states.
    """
    from xqueue_core.cli.filters import made

    quarantined = "quarantined" in states
    if quarantined and len(states) > 1:
        raise click.UsageError("--state quarantined is looked at by itself")
    # A damaged record stands among the live ones: its state is in the part that cannot be read.
    wanted = LIVE if quarantined else states or default
    return Pick(made(wanted, types, lanes), error, older_than, quarantined)


@dataclass(slots=True)
class Done:
    """What became of many tasks."""

    matched: int
    dids: Counter[str] = field(default_factory=Counter)
    not_done: list[dict[str, str]] = field(default_factory=list)

    def add(self, id: str, did: Did, fine: Sequence[Did]) -> None:
        """Count one verdict."""
        self.dids[did.value] += 1
        if did not in fine:
            self.not_done.append({"id": id, "did": did.value})


async def _ids(call: Caller, pick: Pick) -> list[str]:
    from xqueue_core.cli.caller import ask
    from xqueue_core.cli.paging import every
    from xqueue_core.cli.views import asked_stats

    if pick.ids:
        return list(dict.fromkeys(pick.ids))
    now = (await ask(call.app, asked_stats)).at
    found = every(call.app, pick.filter, lambda info: pick.wanted(info, now))
    return [info.id async for info in found]


def carry_out(
    call: Caller,
    pick: Pick,
    make: Callable[[str], AnyCommand],
    *,
    verb: str,
    past: str,
    fine: Sequence[Did],
    dry_run: bool,
    yes: bool,
) -> None:
    """Find the tasks, ask whether that is right, and give the broker a command for each.

    Args:
        call: the command line's own command.
        pick: which tasks.
        make: the command for one.
        verb: what is done, as in "Replay 3 tasks?".
        past: the same afterwards, as in "replayed 3".
        fine: the verdicts that are no errors.
        dry_run: count and do nothing.
        yes: do not ask.

    Raises:
        UsageError: it would have to ask, but JSON is wanted.
        XQueueError: some were not done; they are named.
    """
    if call.out.as_json and not (yes or dry_run):
        raise click.UsageError("with --json nobody can be asked: give --yes, or --dry-run")
    ids = call.run(lambda _: _ids(call, pick))
    done = Done(len(ids))
    if dry_run or not ids:
        _show(call, done, past, dry_run)
        return
    if not yes:
        click.confirm(f"{verb} {counted(len(ids))}?", abort=True, err=True)

    async def work() -> None:
        from xqueue_core.cli.caller import control

        verdicts = await control(call.app, [make(id) for id in ids])
        for id, verdict in zip(ids, verdicts, strict=True):
            done.add(id, verdict.did, fine)

    call.run(lambda _: work())
    _show(call, done, past, dry_run)
    _raise(done, verb.lower())


def _show(call: Caller, done: Done, past: str, dry_run: bool) -> None:
    count = done.dids.total() - len(done.not_done)
    data = {
        "matched": done.matched,
        past: count,
        "dry_run": dry_run,
        "verdicts": dict(done.dids),
        "not_done": done.not_done,
    }
    would = f"{counted(done.matched)} would be {past}"
    call.out.show(data, would if dry_run else f"{past} {counted(count)}")


def _raise(done: Done, verb: str) -> None:
    from xqueue_core.errors import XQueueError

    if done.not_done:
        some = ", ".join(f"{one['id']} ({one['did']})" for one in done.not_done[:NAMED])
        more = ", ..." if len(done.not_done) > NAMED else ""
        raise XQueueError(f"could not {verb} {counted(len(done.not_done))}: {some}{more}")


def counted(number: int) -> str:
    """A number of tasks in words."""
    return f"{number} task" if number == 1 else f"{number} tasks"
