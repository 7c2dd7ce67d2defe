"""Many tasks at once: whether what is meant is right, and what became of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import click

from xqueue_core.cli.picking import LIVE, Pick, counted, find_all

if TYPE_CHECKING:
    from xqueue_core.calls import AnyCommand, Did
    from xqueue_core.cli.caller import Caller
    from xqueue_core.views import TaskInfo

#: Tasks that were not done which are named one by one.
NAMED = 20


@dataclass(frozen=True, slots=True)
class Deed:
    """What is to be done to many tasks.

    Attributes:
        make: the command for one, to be carried out on the task as it is seen now.
        verb: what is done, as in "Replay 3 tasks?".
        past: the same afterwards, as in "replayed 3".
        fine: the verdicts of those that it was done to.
        left: the verdicts of those that were rightly left, as they have changed meanwhile.
        cancels: those that have not ended are canceled by it.
    """

    make: Callable[[TaskInfo], AnyCommand]
    verb: str
    past: str
    fine: Sequence[Did]
    left: Sequence[Did]
    cancels: bool = False


@dataclass(slots=True)
class Done:
    """What became of many tasks."""

    deed: Deed
    matched: int
    live: set[str]  # ids of those that it would cancel
    canceled: int = 0
    dids: Counter[str] = field(default_factory=Counter)
    not_done: list[dict[str, str]] = field(default_factory=list)

    @property
    def left(self) -> int:
        """How many were rightly left."""
        return sum(self.dids[did.value] for did in self.deed.left)

    @property
    def count(self) -> int:
        """How many it was done to."""
        return self.dids.total() - len(self.not_done) - self.left

    def add(self, id: str, did: Did) -> None:
        """Count one verdict."""
        self.dids[did.value] += 1
        if did in self.deed.fine:
            self.canceled += id in self.live
        elif did not in self.deed.left:
            self.not_done.append({"id": id, "did": did.value})


def carry_out(call: Caller, pick: Pick, deed: Deed, *, dry_run: bool, yes: bool) -> None:
    """Find the tasks, ask whether that is right, and give the broker a command for each.

    Args:
        call: the command line's own command.
        pick: which tasks.
        deed: what is to be done.
        dry_run: count and do nothing.
        yes: do not ask.

    Raises:
        NotFound: none of those that were named is known.
        UsageError: it would have to ask, but JSON is wanted.
        XQueueError: some were not done; they are named.
    """
    from xqueue_core.calls import Did

    if call.out.as_json and not (yes or dry_run):
        raise click.UsageError("with --json nobody can be asked: give --yes, or --dry-run")
    found = call.run(lambda _: find_all(call, pick))
    there = {info.id for info in found}
    done = Done(deed, len(found), {info.id for info in found if deed.cancels and _lives(info)})
    for id in dict.fromkeys(pick.ids):
        if id not in there:
            done.add(id, Did.UNKNOWN)
    if found and not dry_run:
        if not yes:
            _confirm(f"{_question(done)}?")
        call.run(lambda _: _tell(call, found, done))
    _show(call, done, dry_run)
    _raise(done)


async def _tell(call: Caller, found: Sequence[TaskInfo], done: Done) -> None:
    from xqueue_core.cli.caller import control

    verdicts = await control(call.app, [done.deed.make(info) for info in found])
    for info, verdict in zip(found, verdicts, strict=True):
        done.add(info.id, verdict.did)


def _lives(info: TaskInfo) -> bool:
    return not info.quarantined and info.state.value in LIVE


def _question(done: Done) -> str:
    live, rest = len(done.live), done.matched - len(done.live)
    parts = [f"{done.deed.verb} {counted(rest)}"] if rest else []
    if live:
        parts.append(f"{'cancel' if parts else 'Cancel'} {counted(live)}")
    return " and ".join(parts)


def _confirm(question: str) -> None:
    """Ask. Raises Abort if the answer is no, XQueueError if nobody is there to give one."""
    from xqueue_core.errors import XQueueError

    try:
        click.confirm(question, abort=True, err=True)
    except click.Abort as error:
        if isinstance(error.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from None
        if not isinstance(error.__context__, EOFError):
            raise
        click.echo(err=True)  # the question is a line of its own
        raise XQueueError(
            "nobody answered, so nothing was done: give --yes, or --dry-run"
        ) from None


def _show(call: Caller, done: Done, dry_run: bool) -> None:
    deed = done.deed
    data = {
        "matched": done.matched,
        deed.past: done.count,
        "left": done.left,
        **({"canceled": done.canceled} if deed.cancels else {}),
        "dry_run": dry_run,
        "verdicts": dict(done.dids),
        "not_done": done.not_done,
    }
    lines = _would(done) if dry_run else _was(done)
    # Where the error tells all there is to tell, "purged 0 tasks" would only be in its way.
    call.out.show(data, *([] if done.not_done and not done.matched else lines))


def _would(done: Done) -> list[str]:
    live, rest = len(done.live), done.matched - len(done.live)
    lines = [f"{counted(rest)} would be {done.deed.past}"] if rest or not live else []
    return lines + ([f"{counted(live)} would be canceled"] if live else [])


def _was(done: Done) -> list[str]:
    live, rest = done.canceled, done.count - done.canceled
    lines = [f"{done.deed.past} {counted(rest)}"] if rest or not live else []
    if live:
        them = "it" if live == 1 else "them"
        lines.append(f"canceled {counted(live)}; purge again to forget {them}")
    if done.left:
        lines.append(f"left {counted(done.left)} that had changed meanwhile")
    return lines


def _raise(done: Done) -> None:
    from xqueue_core.calls import Did
    from xqueue_core.cli.exits import NotFound
    from xqueue_core.errors import XQueueError

    if done.not_done:
        some = ", ".join(f"{one['id']} ({one['did']})" for one in done.not_done[:NAMED])
        more = ", ..." if len(done.not_done) > NAMED else ""
        count = counted(len(done.not_done))
        unknown = all(one["did"] == Did.UNKNOWN.value for one in done.not_done)
        kind = NotFound if unknown and not done.matched else XQueueError
        raise kind(f"could not {done.deed.verb.lower()} {count}: {some}{more}")
