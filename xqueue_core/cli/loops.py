"""The event loops that ``--loop`` names."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from xqueue_core.errors import ConfigError

#: Makes an event loop of asyncio.
Factory = Callable[[], asyncio.AbstractEventLoop]


def loops(name: str) -> Factory:
    """What makes an event loop of this kind: of trio the one beside it, for the engine.

    Raises ConfigError if it is not installed.
    """
    if name == "asyncio":
        return asyncio.new_event_loop
    try:
        if name == "trio":
            import trio  # noqa: F401 - that it is missing must show now

            return asyncio.new_event_loop
        import uvloop
    except ImportError as error:
        raise ConfigError(f"{name} is missing: pip install 'xqueue-core[{name}]'") from error
    factory: Factory = uvloop.new_event_loop
    return factory


def run_on(
    name: str,
    main: Callable[[], Coroutine[Any, Any, object]],
    crash: Callable[[BaseException], None],
) -> None:
    """Run a coroutine function on an event loop of this kind, in this thread.

    ``crash`` is called when something else has ended a loop of asyncio, before the tasks that
    are left on it are cancelled. (On trio such an end is an error of ``main``.)
    """
    if name == "trio":
        import trio

        trio.run(main)
        return
    with asyncio.Runner(loop_factory=loops(name)) as runner:
        try:
            runner.run(main())
        except (SystemExit, KeyboardInterrupt) as error:
            crash(error)
