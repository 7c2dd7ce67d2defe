"""XQueue: one task queue, the same guarantees on every broker."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xqueue_core.app import XQueue
    from xqueue_core.around import CallNext, Middleware
    from xqueue_core.client.sync.handle import SyncHandle
    from xqueue_core.client.tasks import Tasks
    from xqueue_core.context import Context
    from xqueue_core.errors import (
        BrokerError,
        BrokerGone,
        ConfigError,
        ForeignName,
        InvalidResult,
        InvalidTask,
        LeaseLost,
        NoDatabase,
        NothingRuns,
        PayloadTooLarge,
        PluginFailed,
        PluginIncompatible,
        PluginNotFound,
        PluginUnavailable,
        Refused,
        ResultExpired,
        SubmitError,
        TaskCanceled,
        TaskError,
        TaskFailed,
        TaskTimedOut,
        Unavailable,
        Unknown,
        UnknownSetting,
        UnknownType,
        Unsupported,
        WorkerIdTaken,
        XQueueError,
    )
    from xqueue_core.handle import Handle, as_completed
    from xqueue_core.handlers import Reject, Retry, RetryPolicy
    from xqueue_core.task import State

    __version__: str

__all__ = [
    "BrokerError",
    "BrokerGone",
    "CallNext",
    "ConfigError",
    "Context",
    "ForeignName",
    "Handle",
    "InvalidResult",
    "InvalidTask",
    "LeaseLost",
    "Middleware",
    "NoDatabase",
    "NothingRuns",
    "PayloadTooLarge",
    "PluginFailed",
    "PluginIncompatible",
    "PluginNotFound",
    "PluginUnavailable",
    "Refused",
    "Reject",
    "ResultExpired",
    "Retry",
    "RetryPolicy",
    "State",
    "SubmitError",
    "SyncHandle",
    "TaskCanceled",
    "TaskError",
    "TaskFailed",
    "TaskTimedOut",
    "Tasks",
    "Unavailable",
    "Unknown",
    "UnknownSetting",
    "UnknownType",
    "Unsupported",
    "WorkerIdTaken",
    "XQueue",
    "XQueueError",
    "__version__",
    "as_completed",
]

#: Where what is not an error comes from. Loaded when it is asked for, so that a backend which
#: needs the contract alone loads no client, and a client no worker.
_HOMES = {
    "XQueue": "app",
    "CallNext": "around",
    "Middleware": "around",
    "Context": "context",
    "SyncHandle": "client.sync.handle",
    "Tasks": "client.tasks",
    "Handle": "handle",
    "as_completed": "handle",
    "Reject": "handlers",
    "Retry": "handlers",
    "RetryPolicy": "handlers",
    "State": "task",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return _version()
    if name not in __all__:
        if not name.startswith("_"):
            from xqueue_core.foreign import of_package

            if (foreign := of_package(name)) is not None:
                raise foreign
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(f"{__name__}.{_HOMES.get(name, 'errors')}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("xqueue-core")
    except PackageNotFoundError:  # run from a source tree that was not installed
        return "0+unknown"
