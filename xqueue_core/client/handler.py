"""A declared task type as its user sees it: the function, with ways to submit calls of it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar, overload

from xqueue_core.client.call import Call, make_call
from xqueue_core.client.elsewhere import on_any_loop
from xqueue_core.client.options import SubmitOptions, TaskOptions
from xqueue_core.client.sync.handler import SyncSubmitter
from xqueue_core.errors import ConfigError
from xqueue_core.foreign import SUBMITTING, tells
from xqueue_core.handle import Handle
from xqueue_core.handlers import HandlerSpec
from xqueue_core.ids import make_id

if TYPE_CHECKING:
    from typing import Unpack

    from xqueue_core.client.client import Client
    from xqueue_core.context import Context

P = ParamSpec("P")
R = TypeVar("R")
C = ParamSpec("C")
T = TypeVar("T")


class Home(Protocol):
    """Who submits the calls of a handler, and as which type."""

    def submits(self, spec: HandlerSpec) -> tuple[Client, HandlerSpec]:
        """The client, and the type as its app knows it.

        Raises ConfigError if there is none, or more than one.
        """


@tells(SUBMITTING)
class Submitter(Generic[P, R]):
    """Submits tasks of one type with given options.

    ``P`` are the handler's parameters without the context, ``R`` is what it returns.
    """

    def __init__(self, home: Home, spec: HandlerSpec, options: TaskOptions) -> None:
        self._home = home
        self._declared = spec
        self._options = options

    @property
    def _client(self) -> Client:
        return self._home.submits(self._declared)[0]

    @property
    def spec(self) -> HandlerSpec:
        """All that was declared; once an app has included it, as that app knows it."""
        try:
            return self._home.submits(self._declared)[1]
        except ConfigError:
            return self._declared

    @property
    def sync(self) -> SyncSubmitter[P, R]:
        """The same for plain code, without ``await``: ``handler.sync.submit(...)``."""
        return SyncSubmitter(self)

    @on_any_loop
    async def submit(self, /, *args: P.args, **kwargs: P.kwargs) -> Handle[R]:
        """Submit one task with these arguments. When it returns, the task is durable.

        Raises:
            InvalidTask: the arguments do not fit the handler, or cannot be encoded.
            PayloadTooLarge: encoded, they are too large.
            ConfigError: the settings are wrong, the type is live in another lane, or was moved
                to one since it was declared here, or it was declared on :class:`Tasks` that no
                app includes, or more than one.
            Unsupported: the broker cannot do what the options ask for.
            Unavailable: the broker could not be reached for 30 s; nothing was accepted.
            Unknown: no answer came; submitting again under the same id is safe, and the message
                says for how long.
        """
        client, _ = self._home.submits(self._declared)
        return await client.submit(self.call(*args, **kwargs))

    def call(self, *args: P.args, **kwargs: P.kwargs) -> Call[R]:
        """The task, checked and encoded but not submitted: for :meth:`XQueue.submit_many`.

        Raises InvalidTask, PayloadTooLarge and ConfigError as :meth:`submit` does.
        """
        options = self._options
        client, spec = self._home.submits(self._declared)
        id = make_id(spec.name, options.id, options.unique_key, client.uuid)
        return make_call(spec, options, id, args, kwargs)

    def options(self, **options: Unpack[SubmitOptions]) -> Submitter[P, R]:
        """The same with other options; what is not named stays as it was.

        Durations are seconds or timedeltas:

        Args:
            priority: 0 to 9, higher first; 0 unless declared otherwise.
            max_retry: retries after the first attempt, 0 to 10000; 3.
            queue_timeout: longest wait once due; None, for ever.
            process_timeout: longest run of one attempt, or None; 60 s.
            delay: from acceptance until it may start, by the broker's clock; 0.
            run_at: instead of ``delay``: a datetime with time zone, or UTC seconds.
            unique_key: as long as a task of the type with this key is held, another with it is a
                duplicate, and the handle is that of the first.
            unique_for: how long the key is held; None, until the task has ended.
            id: the token of the id, or the whole id; a task with this id is accepted once.
            headers: texts by name that travel with the task.
            result_ttl: how long the result is kept; a day.

        Raises:
            InvalidTask: an option is unknown, or its value out of range.
        """
        return Submitter(self._home, self._declared, self._options.but(options))


class Handler(Submitter[P, R]):
    """A declared type. Calling it runs the function, here and now, without any queue."""

    def __init__(self, home: Home, spec: HandlerSpec) -> None:
        super().__init__(home, spec, spec.options)
        functools.update_wrapper(self, spec.function)

    @property
    def name(self) -> str:
        """The task type."""
        return self.spec.name

    @property
    def declared(self) -> HandlerSpec:
        """What stands above the function, whoever has included it."""
        return self._declared

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the function; one that takes a context needs it as first argument."""
        return self._declared.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<Handler {self.name!r} in lane {self.spec.lane!r}>"


if TYPE_CHECKING:

    class Declared(Handler[P, R], Generic[P, R, C, T]):
        """For type checkers: a handler that is called like its function, context included."""

        def __call__(self, *args: C.args, **kwargs: C.kwargs) -> T:
            """Run the function."""
            ...

    class Declare(Protocol):
        """For type checkers: what ``@app.task(...)`` gives, to be applied to the function."""

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
