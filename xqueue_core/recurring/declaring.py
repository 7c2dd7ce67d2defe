"""``@app.every`` and ``@app.cron``."""

from __future__ import annotations

import inspect
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Mapping, Sequence
from datetime import timedelta
from types import MappingProxyType
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    ParamSpec,
    Protocol,
    TypedDict,
    TypeVar,
    overload,
)

from xqueue_core.client.declaring import Declarations, make_spec, visible
from xqueue_core.client.handler import Handler
from xqueue_core.client.options import alternatives
from xqueue_core.errors import ConfigError
from xqueue_core.foreign_options import schedule_hint
from xqueue_core.payload import JSON
from xqueue_core.recurring.rules import Every, Rule
from xqueue_core.recurring.schedule import Missed, Overlap, Recurring, Schedules

if TYPE_CHECKING:
    from typing import Unpack

    from xqueue_core.client.handler import Declared, Home
    from xqueue_core.client.options import Seconds
    from xqueue_core.context import Context
    from xqueue_core.handlers import HandlerSpec

P = ParamSpec("P")
R = TypeVar("R")
H = TypeVar("H", bound=Handler[..., Any])


class RecurringOptions(TypedDict, total=False):
    """Options of its tasks that a schedule may set; what is not set is the handler's.

    The others follow from the slot.
    """

    priority: int
    max_retry: int
    queue_timeout: Seconds | None
    process_timeout: Seconds | None
    headers: Mapping[str, str]
    result_ttl: Seconds


class Recurs(ABC):
    """The part of an app that declares recurring schedules."""

    def __init__(self) -> None:
        self._declarations = Declarations()
        self._schedules = Schedules()

    @property
    @abstractmethod
    def _home(self) -> Home:
        """Who submits the calls of its handlers."""

    def _declared(self, spec: HandlerSpec) -> Handler[Any, Any]:
        """Keep a type. Raises ConfigError if it contradicts another one."""
        self._declarations.add(spec)
        return Handler(self._home, spec)

    def _scheduled(self, one: Recurring) -> None:
        """Keep a schedule. Raises ConfigError if its name is taken."""
        self._schedules.add(one)

    @property
    def schedules(self) -> Mapping[str, Recurring]:
        """The declared schedules by name."""
        return MappingProxyType(self._schedules)

    def every(
        self,
        interval: float | timedelta,
        /,
        *,
        offset: float | timedelta = 0.0,
        name: str | None = None,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        missed: Missed = "latest",
        overlap: Overlap | None = None,
        **options: Unpack[RecurringOptions],
    ) -> Recur:
        """Run a handler every so many seconds: above ``@app.task``, or above a plain function,
        which it declares as a task.

        Slots are aligned to the epoch, so all workers compute the same: ``every(60)`` fires at
        each full minute, ``every(60, offset=5)`` five seconds later.

        Args:
            interval: 0.1 seconds to ten years, as a number or timedelta.
            offset: from 0 to below the interval.
            name: 1 to 64 of A-Z, a-z, 0-9, ``_``, ``.`` and ``-``. By default the type and the
                rule; name it if the rule may change, so that the new one replaces the old one.
            args: positional arguments of each call ...
            kwargs: ... and those by name.
            missed: of slots that no worker could fire in time, ``"latest"`` makes up for the last
                one, ``"all"`` for the last hundred, ``"skip"`` for none (30 s late is missed).
            overlap: while the run before has not ended, ``"skip"`` lets a slot pass without a
                task (the default), ``"allow"`` starts another (the default if missed is "all").
            options: of its tasks: priority, max_retry, queue_timeout, process_timeout, headers,
                result_ttl.

        Raises:
            ConfigError: something is out of range, the name is taken, or the arguments do not fit
                the handler.
        """
        return self._recur(Every(interval, offset), name, args, kwargs, missed, overlap, options)

    def cron(
        self,
        expression: str,
        /,
        *,
        tz: str = "UTC",
        name: str | None = None,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        missed: Missed = "latest",
        overlap: Overlap | None = None,
        **options: Unpack[RecurringOptions],
    ) -> Recur:
        """Run a handler at the times of a cron expression: as :meth:`every`, but for its first
        arguments.

        Args:
            expression: minute, hour, day-of-month, month and day-of-week, as cronsim reads them:
                ``"0 9 * * MON-FRI"``, ``"*/15 * * * *"``, ``"0 0 L * *"`` (the last day of each
                month), ``"0 0 * * 5L"`` (its last Friday).
            tz: whose clocks it goes by, as ``Europe/Berlin``. A time that they skip fires as soon
                as they have; of one that comes twice the first fires. With ``*`` as minute or
                hour it follows the real hours instead.

        Raises:
            ConfigError: as :meth:`every`; or the expression is not one, or never matches; or the
                time zone is unknown.
        """
        from xqueue_core.recurring.cron import Cron

        return self._recur(Cron(expression, tz), name, args, kwargs, missed, overlap, options)

    def _recur(
        self,
        rule: Rule,
        name: str | None,
        args: Sequence[Any],
        kwargs: Mapping[str, Any] | None,
        missed: Missed,
        overlap: Overlap | None,
        options: RecurringOptions,
    ) -> Recur:
        _check_names(options, self.every if isinstance(rule, Every) else self.cron)
        names = visible(sys._getframe(2))

        def declare(function: Callable[..., Any]) -> Any:
            handler = self._handler(function, names)
            spec = self._known(handler)
            self._scheduled(
                Recurring(
                    spec,
                    rule,
                    f"{spec.name} {rule.text}" if name is None else name,
                    args,
                    {} if kwargs is None else kwargs,
                    missed,
                    overlap or ("allow" if missed == "all" else "skip"),
                    options,
                )
            )
            return handler

        return declare

    def _handler(self, function: Callable[..., Any], names: Mapping[str, Any]) -> Handler[..., Any]:
        """The handler itself, or that of a plain function, declared with the defaults."""
        if isinstance(function, Handler):
            return function
        spec = make_spec(
            function,
            names,
            {},
            name=None,
            lane=None,
            max_concurrency=None,
            key=None,
            key_concurrency=None,
            retry=None,
            content_type=JSON,
        )
        return self._declared(spec)

    def _known(self, handler: Handler[..., Any]) -> HandlerSpec:
        """The type of a handler as it is known here. Raises ConfigError if it is not."""
        for spec in (handler.declared, handler.spec):  # of an included one, the second
            if self._declarations.get(spec.name) is spec:
                return spec
        raise ConfigError(
            f"type {handler.name!r} is declared by another app: put @app.task of this one below"
        )


def _check_names(options: Mapping[str, Any], of: Callable[..., Any]) -> None:
    """Raise ConfigError for an option that a schedule declared by ``of`` does not have."""
    for name in options:
        if name not in RecurringOptions.__annotations__:
            parameters = inspect.signature(of).parameters.values()
            own = {one.name for one in parameters if one.kind is one.KEYWORD_ONLY}
            known = own | set(RecurringOptions.__annotations__)
            if hint := schedule_hint(name, options[name], known):
                raise ConfigError(f"a schedule has no option {name!r}, {hint}")
            raise ConfigError(f"a schedule has no option {alternatives(name, known)}")


if TYPE_CHECKING:

    class Recur(Protocol):
        """For type checkers: what ``@app.every(...)`` gives, to be applied to a handler, which
        stays what it is, or to a function, which becomes one."""

        @overload  # a handler can be called as well, but what follows is for other functions
        def __call__(self, handler: H, /) -> H: ...  # type: ignore[overload-overlap]

        @overload
        def __call__(
            self, function: Callable[Concatenate[Context, P], Coroutine[Any, Any, R]], /
        ) -> Declared[P, R, Concatenate[Context, P], Coroutine[object, object, R]]: ...

        @overload
        def __call__(
            self, function: Callable[P, Coroutine[Any, Any, R]], /
        ) -> Declared[P, R, P, Coroutine[object, object, R]]: ...

        @overload
        def __call__(
            self, function: Callable[Concatenate[Context, P], R], /
        ) -> Declared[P, R, Concatenate[Context, P], R]: ...

        @overload
        def __call__(self, function: Callable[P, R], /) -> Declared[P, R, P, R]: ...
