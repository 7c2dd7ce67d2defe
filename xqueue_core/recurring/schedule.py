"""A recurring schedule as an app declares it: a rule, a handler, and the call that it makes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from xqueue_core.client.call import make_call
from xqueue_core.client.declaring import source
from xqueue_core.errors import ConfigError, InvalidTask, PayloadTooLarge
from xqueue_core.handlers import HandlerSpec
from xqueue_core.ids import Id, make_id
from xqueue_core.recurring.rules import Rule, newest
from xqueue_core.task import Slot, Task

#: What becomes of slots that could not be fired in time.
Missed = Literal["latest", "all", "skip"]
#: What becomes of a slot while the run before is still live.
Overlap = Literal["skip", "allow"]

#: Seconds by which a slot may be late before it counts as missed, for ``missed="skip"``.
LATE = 30.0
#: Most slots that are made up for at once, the newest ones, for ``missed="all"``.
MOST = 100

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")


@dataclass(slots=True)
class Recurring:
    """One declared schedule. Raises ConfigError for whatever is wrong with it.

    Attributes:
        name: its name; :attr:`text` if it was given none.
        spec: the handler; ``args``, ``kwargs`` and ``options`` are of its calls.
        missed: what becomes of slots that nobody fired in time.
        overlap: what becomes of a slot while the run before is still live.
    """

    spec: HandlerSpec
    rule: Rule
    name: str
    args: Sequence[Any] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    missed: Missed = "latest"
    overlap: Overlap = "skip"
    options: Mapping[str, Any] = field(default_factory=dict)
    _call: Task | None = None

    def __post_init__(self) -> None:
        given: object = self.name
        if given != self.text and not (isinstance(given, str) and _NAME.fullmatch(given)):
            raise ConfigError(
                f"a schedule's name is 1 to 64 of A-Z, a-z, 0-9, `_`, `.` and `-`, not {given!r}"
            )
        for what, value, known in (
            ("missed", self.missed, ("latest", "all", "skip")),
            ("overlap", self.overlap, ("skip", "allow")),
        ):
            if value not in known:
                raise self._wrong(f"{what} is one of {', '.join(known)}, not {value!r}")
        if self.missed == "all" and self.overlap == "skip":
            raise self._wrong(
                "missed='all' needs overlap='allow': of slots made up for together all but one "
                "would be skipped"
            )
        self._check_call()

    @property
    def text(self) -> str:
        """What decides when and what it fires, in words. Another text is another version."""
        return f"{self.spec.name} {self.rule.text}"

    def due(self, last: float, now: float) -> list[float]:
        """The slots to fire now, in order: those after ``last``, as ``missed`` says."""
        if self.missed == "all":
            return newest(self.rule, last, now, MOST)
        slots = newest(self.rule, last, now, 1)
        if self.missed == "skip" and slots and now - slots[0] > LATE:
            return []
        return slots

    def task(self, at: float, version: int, uuid: Callable[[], str]) -> Task:
        """A task for a slot. All tasks of a schedule have the same hash in their token."""
        id = make_id(self.spec.name, None, f"\0schedule\0{self.name}", uuid)
        return msgspec.structs.replace(
            self._prototype(),
            id=id.id,
            remember=False,  # a repeated put is told by its slot
            slot=Slot(self.name, version, at),
            run_at=at,
            unique_key=id.unique_key if self.overlap == "skip" else None,
        )

    def task_now(self, uuid: Callable[[], str]) -> Task:
        """A task that makes the same call at once, beside the schedule: it takes no slot, and
        runs also while one of a slot has not ended. Raises InvalidTask if the call does not fit."""
        id = make_id(self.spec.name, None, None, uuid)
        return msgspec.structs.replace(self._prototype(), id=id.id)

    def _prototype(self) -> Task:
        if self._call is None:
            options = self.spec.options.but({**self.options, "delay": 0.0})
            id = Id(f"{self.spec.name}:slot", None, False)  # each slot's task has its own
            call = make_call(self.spec, options, id, tuple(self.args), dict(self.kwargs))
            self._call = call.task
        return self._call

    def _check_call(self) -> None:
        if isinstance(self.args, str | bytes) or not isinstance(self.args, Sequence):
            raise self._wrong(f"args is a tuple of arguments, not {self.args!r}")
        if not isinstance(self.kwargs, Mapping):
            raise self._wrong(f"kwargs maps names to arguments, not {self.kwargs!r}")
        try:
            self._prototype()
        except (InvalidTask, PayloadTooLarge) as error:
            raise self._wrong(str(error)) from error
        except ConfigError as error:
            # An annotation that names what is defined further down: encoded when a worker starts.
            if not isinstance(error.__cause__, NameError):
                raise

    def _wrong(self, what: str) -> ConfigError:
        return ConfigError(f"schedule {self.name!r}: {what}")


class Schedules(dict[str, Recurring]):
    """The declared schedules of one app, by name."""

    def add(self, one: Recurring) -> None:
        """Keep a declaration. Raises ConfigError if the name is taken."""
        earlier = self.get(one.name)
        if earlier is not None:
            raise ConfigError(
                f"schedule {one.name!r} is declared twice, for {source(earlier.spec.function)} and "
                f"for {source(one.spec.function)}; give one of them a name=... of its own"
            )
        self[one.name] = one
