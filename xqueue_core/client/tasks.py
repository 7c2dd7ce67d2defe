"""Task types of a library: declared without an app, and submitted through the one that includes
them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import FrameType
from typing import TYPE_CHECKING, Any

from xqueue_core.client.declares import Declares
from xqueue_core.client.declaring import Declarations, source
from xqueue_core.client.handler import Handler
from xqueue_core.errors import ConfigError
from xqueue_core.foreign import DECLARING, tells
from xqueue_core.ids import check_type
from xqueue_core.recurring.schedule import Recurring, Schedules

if TYPE_CHECKING:
    from xqueue_core.app import XQueue
    from xqueue_core.client.client import Client
    from xqueue_core.handlers import HandlerSpec


@dataclass(slots=True)
class Inclusion:
    """One call of ``app.include``.

    Attributes:
        place: where that was, and of which app, for people.
        specs: what the app knows the types as, by the names they were declared with.
    """

    app: XQueue
    prefix: str
    lane: str | None
    place: str
    specs: dict[str, HandlerSpec] = field(default_factory=dict)

    def spec(self, declared: HandlerSpec) -> HandlerSpec:
        """A type as the app knows it. Raises ConfigError if the prefix makes no name of it."""
        name = check_type(self.prefix + declared.name, ConfigError)
        own = declared.lane == declared.name
        lane = self.lane or (name if own else declared.lane)
        return replace(declared, name=name, lane=lane)

    def schedule(self, declared: Recurring) -> Recurring:
        """A schedule as the app knows it."""
        spec = self.specs[declared.spec.name]
        unnamed = declared.name == declared.text
        name = f"{spec.name} {declared.rule.text}" if unnamed else self.prefix + declared.name
        return replace(declared, spec=spec, name=name, _call=None)


@tells(DECLARING)
class Tasks(Declares):
    """Task types and schedules that a library declares, for an app that it does not know.

    ``@tasks.task``, ``@tasks.every`` and ``@tasks.cron`` are those of an app. Once
    ``app.include(tasks)`` was called, the handlers submit to that app. Before, a submit raises
    ConfigError; and also if they were included more than once, for then it must say by
    ``app.submit(name, ...)`` which app is meant.
    """

    def __init__(self) -> None:
        super().__init__()
        self._inclusions: list[Inclusion] = []

    def submits(self, spec: HandlerSpec) -> tuple[Client, HandlerSpec]:
        """The client of the app that includes them, and the type as that app knows it.

        Raises ConfigError if there is no such app, or more than one.
        """
        if len(self._inclusions) == 1:
            (one,) = self._inclusions
            return one.app._client, one.specs[spec.name]
        if not self._inclusions:
            raise ConfigError(
                f"{source(spec.function)} is declared on Tasks() that no app includes yet: call "
                f"`app.include(tasks)` where the app is made, before anything is submitted"
            )
        places = " and ".join(one.place for one in self._inclusions)
        names = list(dict.fromkeys(one.specs[spec.name].name for one in self._inclusions))
        submits = " or ".join(f"`app.submit({name!r}, ...)`" for name in names)
        raise ConfigError(
            f"{source(spec.function)} is included more than once, by {places}: say which is meant, "
            f"by {submits} of the app"
        )

    @property
    def _home(self) -> Tasks:
        return self

    def _declared(self, spec: HandlerSpec) -> Handler[Any, Any]:
        handler = super()._declared(spec)
        try:
            for one in self._inclusions:
                _take(one, [spec], [])
        except ConfigError:
            del self._declarations[spec.name]
            raise
        return handler

    def _scheduled(self, one: Recurring) -> None:
        super()._scheduled(one)
        try:
            for inclusion in self._inclusions:
                _take(inclusion, [], [one])
        except ConfigError:
            del self._schedules[one.name]
            raise

    @staticmethod
    def include_in(
        app: XQueue, tasks: object, prefix: str, lane: str | None, frame: FrameType
    ) -> None:
        """See :meth:`XQueue.include`; ``frame`` is that of its caller."""
        given: object = prefix
        if not isinstance(tasks, Tasks):
            raise ConfigError(
                f"include takes what a library has declared its tasks on, `tasks = Tasks()`, not "
                f"{tasks!r}"
            )
        if not isinstance(given, str):
            raise ConfigError(f"include's prefix is a text, such as 'images.', not {given!r}")
        if lane is not None:
            check_type(lane, ConfigError, "lane")
        place = _place(app, frame)
        for one in tasks._inclusions:
            if one.app is app and one.prefix == prefix:
                raise ConfigError(f"these Tasks are included already, by {one.place}; not again")
        inclusion = Inclusion(app, prefix, lane, place)
        _take(inclusion, list(tasks._declarations.values()), list(tasks._schedules.values()))
        tasks._inclusions.append(inclusion)


def _take(inclusion: Inclusion, specs: list[HandlerSpec], schedules: list[Recurring]) -> None:
    """Let the app have these, all of them or, raising ConfigError, none."""
    app, known = inclusion.app, dict(inclusion.specs)
    all_specs, all_schedules = Declarations(app._declarations), Schedules(app._schedules)
    try:
        for declared in specs:
            inclusion.specs[declared.name] = spec = inclusion.spec(declared)
            all_specs.add(spec, included=True)
        for one in schedules:
            all_schedules.add(inclusion.schedule(one))
    except BaseException:
        inclusion.specs = known
        raise
    app._declarations.update(all_specs)
    app._schedules.update(all_schedules)


def _place(app: XQueue, frame: FrameType) -> str:
    """An app by its variable, and where it includes."""
    names = {**frame.f_globals, **frame.f_locals}
    name = next((name for name, one in names.items() if one is app), "an XQueue")
    return f"`{name}` ({frame.f_code.co_filename}:{frame.f_lineno})"
