"""The fixed list of cases: what they are, how they are written, which of them concern a backend."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

from xqueue_core.calls import Ability

if TYPE_CHECKING:
    from xqueue_core.conformance.bench import Bench
    from xqueue_core.conformance.harness import Harness

Story = Callable[["Bench"], Awaitable[None]]

#: ``C21`` from the list of cases, ``P1.2a`` from the protocols, ``WHY3`` about explanations.
_ID = re.compile(r"[A-O]\d{1,3}[a-z]?|P\d\.\d[a-z]?|WHY\d{1,2}[a-z]?")

#: What a harness or its backend may have beside abilities, and what its lack is called.
TRAITS: Mapping[str, str] = {
    "shared": "several processes cannot open this backend at once",
    "durable": "this backend keeps nothing when everything is closed",
    "restart": "the harness cannot restart the broker",
    "proxy": "the harness cannot put a proxy between this backend and a server",
    "fill": "the harness cannot fill the broker's disk or memory",
    "flush": "the harness cannot make the broker forget scripts",
    "backend": "the harness does not give the backend that an entry point would name",
    "corrupt": "the harness cannot damage a stored record",
    "spawn": "the harness does not say how another process opens this backend",
    "clock": "the harness cannot move the backend's clock",
    "mute": "the harness cannot let wake-ups be lost",
    "lacking": "this backend lacks no ability",
    "lane_order": "this backend keeps order per shard, not per lane",
}


@dataclass(frozen=True, slots=True)
class Case:
    """One thing that must hold.

    Attributes:
        id: its fixed name.
        story: the function that tries it, on a bench of its own.
        needs: abilities without which it does not concern a backend.
        traits: keys of ``TRAITS`` that backend and harness must have.
        settings: settings the bench is opened with; the harness must be able to set them.
        deadline: seconds, times the harness's ``time_scale``, after which it has failed.
        alone: nothing else may run on the broker meanwhile.
    """

    id: str
    story: Story
    needs: frozenset[Ability] = frozenset()
    traits: frozenset[str] = frozenset()
    settings: Mapping[str, Any] = field(default_factory=dict)
    deadline: float = 20.0
    alone: bool = False

    @property
    def doc(self) -> str:
        """What must hold, in a sentence or two."""
        return " ".join((self.story.__doc__ or "").split())

    @property
    def group(self) -> str:
        """The file that holds it."""
        return self.story.__module__.rpartition(".")[2]

    def why_not(self, harness: Harness) -> str:
        """Why this case does not concern the harness's backend; "" if it does."""
        lacks = [a for a in sorted(self.needs) if a not in harness.capabilities.abilities]
        if lacks:
            return f"the backend does not claim {', '.join(lacks)}"
        for trait in sorted(self.traits - harness.traits):
            return TRAITS[trait]
        for name in self.settings:
            if name not in harness.adjustable:
                return f"the harness cannot set {name}"
        return ""


def case(
    id: str,
    *,
    needs: Collection[Ability] = (),
    traits: Collection[str] = (),
    settings: Mapping[str, Any] | None = None,
    deadline: float = 20.0,
    alone: bool = False,
) -> Callable[[Story], Case]:
    """Make a case of a function; its docstring says what must hold.

    Raises ValueError for an id of the wrong form, an unknown trait or a missing docstring.
    """
    if not _ID.fullmatch(id):
        raise ValueError(f"{id!r} is no case id: write C21, P1.2a or WHY3")
    unknown = set(traits) - set(TRAITS)
    if unknown:
        raise ValueError(f"case {id}: unknown traits {sorted(unknown)}")

    def made(story: Story) -> Case:
        if not story.__doc__:
            raise ValueError(f"case {id} needs a docstring that says what must hold")
        return Case(id, story, frozenset(needs), frozenset(traits), settings or {}, deadline, alone)

    return made


def collect(modules: Iterable[ModuleType]) -> list[Case]:
    """Every case of the modules, in order of its id. Raises ValueError for an id given twice."""
    found: dict[str, Case] = {}
    for module in modules:
        for value in vars(module).values():
            if not isinstance(value, Case) or value.story.__module__ != module.__name__:
                continue
            if value.id in found:
                raise ValueError(
                    f"case {value.id} is given twice: in {found[value.id].group} "
                    f"and in {value.group}"
                )
            found[value.id] = value
    return sorted(found.values(), key=lambda one: sort_key(one.id))


def all_cases() -> list[Case]:
    """The kit's whole list, in order of id."""
    from xqueue_core.conformance import groups

    names = sorted(info.name for info in pkgutil.iter_modules(groups.__path__))
    return collect(importlib.import_module(f"{groups.__name__}.{name}") for name in names)


def sort_key(id: str) -> tuple[str, tuple[int, ...], str]:
    """Order of ids: C9 before C21, P1.2a before P1.2b, the protocols last, and WHY."""
    numbers = tuple(int(n) for n in re.findall(r"\d+", id))
    return id[0], numbers, id


class Chosen(NamedTuple):
    """The cases that concern one backend, and the others with the reason."""

    cases: list[Case]
    not_chosen: dict[str, str]


def choose(harness: Harness, among: Iterable[Case] | None = None) -> Chosen:
    """Split the list into what concerns the harness's backend and what does not, and why."""
    chosen: list[Case] = []
    not_chosen: dict[str, str] = {}
    for one in all_cases() if among is None else among:
        reason = one.why_not(harness)
        if reason:
            not_chosen[one.id] = reason
        else:
            chosen.append(one)
    return Chosen(chosen, not_chosen)
