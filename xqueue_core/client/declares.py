"""``@app.task``, and the same of ``Tasks``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Coroutine, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Concatenate, Literal, ParamSpec, TypeVar, overload

from xqueue_core.client.declaring import make_spec, visible
from xqueue_core.client.handler import Handler
from xqueue_core.handlers import HandlerSpec, RetryPolicy
from xqueue_core.payload import JSON
from xqueue_core.recurring.declaring import Recurs

if TYPE_CHECKING:
    from typing import Unpack

    from xqueue_core.client.handler import Declare, Declared
    from xqueue_core.client.options import TypeOptions
    from xqueue_core.context import Context

P = ParamSpec("P")
R = TypeVar("R")


class Declares(Recurs):
    """What task types and schedules are declared on."""

    @property
    def handlers(self) -> Mapping[str, HandlerSpec]:
        """The declared types by name."""
        return MappingProxyType(self._declarations)

    @overload
    def task(
        self, function: Callable[Concatenate[Context, P], Coroutine[Any, Any, R]], /
    ) -> Declared[P, R, Concatenate[Context, P], Coroutine[object, object, R]]: ...

    @overload
    def task(
        self, function: Callable[P, Coroutine[Any, Any, R]], /
    ) -> Declared[P, R, P, Coroutine[object, object, R]]: ...

    @overload
    def task(
        self, function: Callable[Concatenate[Context, P], R], /
    ) -> Declared[P, R, Concatenate[Context, P], R]: ...

    @overload
    def task(self, function: Callable[P, R], /) -> Declared[P, R, P, R]: ...

    @overload
    def task(
        self,
        /,
        *,
        name: str | None = None,
        lane: str | None = None,
        max_concurrency: int | None = None,
        key: str | None = None,
        key_concurrency: int | None = None,
        retry: RetryPolicy | None = None,
        content_type: str = JSON,
        isolation: Literal["process"] | None = None,
        max_memory: int | None = None,
        **options: Unpack[TypeOptions],
    ) -> Declare: ...

    def task(
        self,
        function: Callable[..., Any] | None = None,
        /,
        *,
        name: str | None = None,
        lane: str | None = None,
        max_concurrency: int | None = None,
        key: str | None = None,
        key_concurrency: int | None = None,
        retry: RetryPolicy | None = None,
        content_type: str = JSON,
        isolation: Literal["process"] | None = None,
        max_memory: int | None = None,
        **options: Any,
    ) -> Any:
        """Declare a task type: ``@app.task`` or ``@app.task(...)`` above its function.

        The function may be ``async`` or plain (it then runs in a thread). It is given a
        :class:`~xqueue_core.context.Context` if its first parameter is annotated so.

        Args:
            name: the type, 1 to 64 of A-Z, a-z, 0-9, ``_``, ``.`` and ``-``; by default the
                function's name.
            lane: where its tasks queue; by default a lane of its own, named like the type.
            max_concurrency: how many of the lane run at once, in all workers together.
            key: template over the arguments, such as ``"user_{user_id}"``: of tasks with the
                same key ...
            key_concurrency: ... this many run at once, in all workers together.
            retry: when to retry, and after how long.
            content_type: form of the payload, instead of JSON: ``application/octet-stream`` for a
                handler with one argument of bytes; any other is that of an installed serializer.
            isolation: ``"process"`` runs each task in a child process, which is killed at its
                time-out or when it is canceled; ``docs/isolation.md`` says what that costs.
            max_memory: how much a child may allocate (MiB, 32 or more), with its interpreter.
            options: defaults of its tasks, see :meth:`Submitter.options`.

        Raises:
            ConfigError: an option is unknown or out of range, ``retry`` is no policy, an argument
                has a type without a JSON form, a context is not the first parameter, the name is
                taken, or another type in the lane declares another ``max_concurrency``.
        """
        names = visible(sys._getframe(1))

        def declare(function: Callable[..., Any]) -> Handler[Any, Any]:
            if isinstance(function, Handler):  # another app has declared it, too
                function = function.spec.function
            spec = make_spec(
                function,
                names,
                options,
                name=name,
                lane=lane,
                max_concurrency=max_concurrency,
                key=key,
                key_concurrency=key_concurrency,
                retry=retry,
                content_type=content_type,
                isolation=isolation,
                max_memory=max_memory,
            )
            return self._declared(spec)

        return declare if function is None else declare(function)
