"""``@app.on_error``: what an app is told of each attempt that fails."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

from xqueue_core.errors import ConfigError

if TYPE_CHECKING:
    from xqueue_core.context import Context

#: ``def report(ctx, error, final)``, or the same with ``async``.
ErrorHook = Callable[["Context", BaseException, bool], Awaitable[Any] | None]
H = TypeVar("H", bound=Callable[..., Any])


class Errs:
    """What an app calls when attempts fail."""

    #: The functions, in order. Replaced, never changed: workers look at it in any thread.
    error_hooks: tuple[ErrorHook, ...] = ()

    def on_error(self, function: H) -> H:
        """Have a function called once for each attempt that fails or times out: ``@app.on_error``.

        It is given the context, the exception with its traceback, and whether that is final or
        the task is tried again. What the attempt becomes is decided by then, and nothing the
        function does changes it: what it raises is logged, and after 5 s it is not waited for any
        longer; the next one has 5 s of its own. The attempt keeps its slot until then.

        A coroutine function is awaited on the handlers' event loop, any other is called in a
        thread, and what it returns is awaited if it can be; both in the handler's context
        (``contextvars``). There are 8 threads, for which calls wait up to 60 s if much fails at
        once; while 8 calls that took too long have not returned, plain functions are not called.
        Either is logged. Of a task in a child process the
        exception is a :class:`TaskFailed` that has type, message and traceback as text. After a
        time-out it is a :class:`TaskTimedOut` with the traceback of where the handler was, if it
        could be told.

        Not called for what a worker's death ends, nor for a plain handler that runs on beyond its
        time-out when the worker stops, nor for ``Retry`` while a retry is left, by which a handler
        asks to be run again. A stop or a cancel does not wait for it; what was not called then is
        logged.

        Raises:
            ConfigError: it is no function of three arguments.
        """
        given: object = function
        name = getattr(function, "__name__", "report")
        if not callable(given) or inspect.isclass(given):
            raise ConfigError(f"on_error takes a function, not {given!r}: write `@app.on_error`")
        try:
            inspect.signature(function).bind(None, None, None)
        except TypeError as error:
            raise ConfigError(
                f"on_error's function is given context, exception and whether that is final: "
                f"write `def {name}(ctx, error, final)`, not {name}{inspect.signature(function)}"
            ) from error
        except ValueError:  # it has no signature that could be known
            pass
        self.error_hooks = (*self.error_hooks, function)
        return function
