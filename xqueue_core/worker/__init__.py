"""The worker engine: leases tasks, runs their handlers, settles how they ended.

Several small objects, each with one duty: :mod:`~.fetcher` asks for work, :mod:`~.limiter` and
:mod:`~.keys` take permits, :mod:`~.executor` runs handlers on their own loop behind the
:mod:`~.crossing`, :mod:`~.settler` records outcomes, :mod:`~.keeper` keeps the lease.
:mod:`~.engine` joins them, :mod:`~.duties` is their life from start to drain, and
:mod:`~.worker` is the shell of threads around it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xqueue_core.worker.duties import Exit
    from xqueue_core.worker.worker import Worker

__all__ = ["Exit", "Worker"]

#: Loaded when asked for: a child process, of which there is one per isolated task, needs no engine.
_HOMES = {"Exit": "duties", "Worker": "worker"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = found
    return found
