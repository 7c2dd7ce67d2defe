"""What an app puts around its handlers: middleware around each run, a lifespan around them all."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, NoReturn

from xqueue_core.errors import ConfigError

if TYPE_CHECKING:
    from xqueue_core.app import XQueue
    from xqueue_core.context import Context

#: Runs what is further inside, at last the handler; its result is the handler's.
CallNext = Callable[["Context"], Awaitable[Any]]
#: ``async def middleware(ctx, call_next)``: what it returns or raises stands for the handler's.
Middleware = Callable[["Context", CallNext], Awaitable[Any]]
#: An ``@asynccontextmanager`` function of the app; what it yields is ``ctx.state``.
LifespanMaker = Callable[["XQueue"], AbstractAsyncContextManager[Any]]


class Chain(tuple[Middleware, ...]):
    """An app's middleware, the outermost first. Used as a decorator it tells what to write."""

    __slots__ = ()

    def __call__(self, *given: object, **options: object) -> NoReturn:
        name = _name(given[0]) if given else "around"
        raise ConfigError(
            f"an app's middleware is given when it is made: write "
            f"`app = XQueue(middleware=[{name}])` below `async def {name}(ctx, call_next)`"
        )


def check_middleware(middleware: Iterable[Middleware]) -> Chain:
    """Raises ConfigError if one cannot be awaited."""
    if callable(middleware) and not isinstance(middleware, Chain):
        raise ConfigError(f"middleware takes a list: middleware=[{_name(middleware)}]")
    layers = Chain(middleware)
    for one in layers:
        if not _is_async(one):
            raise ConfigError(
                f"middleware must be `async def {_name(one)}(ctx, call_next)`, not {one!r}"
            )
        if not _takes(one, 2):
            raise ConfigError(
                f"middleware is given the context and what is further inside: write "
                f"`async def {_name(one)}(ctx, call_next)`, not {_name(one)}{_signature(one)}"
            )
    return layers


def check_lifespan(lifespan: LifespanMaker | None) -> LifespanMaker | None:
    """Raises ConfigError if it makes no asynchronous context manager."""
    given: object = lifespan
    if given is None or (callable(given) and not _undecorated(given)):
        if callable(given) and not _takes(given, 1):
            raise ConfigError(
                f"lifespan is given the app: write `async def {_name(given)}(app)`, not "
                f"{_name(given)}{_signature(given)}"
            )
        return lifespan
    raise ConfigError(
        f"lifespan must be a function of the app with @contextlib.asynccontextmanager above it "
        f"and one `yield` in it, not {lifespan!r}"
    )


def _is_async(one: object) -> bool:
    return callable(one) and (
        inspect.iscoroutinefunction(one) or inspect.iscoroutinefunction(type(one).__call__)
    )


def _takes(one: Any, count: int) -> bool:
    """False if it cannot be called with so many arguments; True too if nobody can tell."""
    try:
        inspect.signature(one).bind(*range(count))
    except TypeError:
        return False
    except ValueError:  # it has no signature
        return True
    return True


def _signature(one: Any) -> str:
    return str(inspect.signature(one))


def _undecorated(function: object) -> bool:
    return (
        inspect.isasyncgenfunction(function)
        or inspect.isgeneratorfunction(function)
        or inspect.iscoroutinefunction(function)
    )


def _name(one: object) -> str:
    return getattr(one, "__name__", "middleware")
