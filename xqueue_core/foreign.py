"""Words of other task queues: whoever writes one by habit is told XQueue's, and the line to write.

Names of methods are descriptors that raise, not a ``__getattr__``, which would make every other
access to an attribute slower. Type checkers see none of them, and refuse them as ever. Options and
settings of other products are in :mod:`xqueue_core.foreign_options`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple, NoReturn, TypeVar

from xqueue_core.errors import ConfigError, ForeignName

C = TypeVar("C", bound=type)


class Word(NamedTuple):
    """A name of another product, and the line that stands for it here."""

    product: str
    line: str


_SUBMIT = "`await handler.submit(...)`, or `handler.sync.submit(...)` in plain code"
_LATER = (
    "`await handler.options(delay=60).submit(...)`, or `handler.sync.options(delay=60).submit(...)`"
    " in plain code"
)
_CALL = "`handler.call(...)`, for `app.submit_many`"
_CONFIGURED = "`handler.options(priority=9)`, then `.submit(...)`"
_BY_ID = "`app.handle(id)`, or `app.sync.handle(id)` in plain code"
_MANY = "`await app.submit_many(handler.call(one) for one in many)`"

#: Of handlers, and of what has options for them.
SUBMITTING: Mapping[str, Word] = {
    "delay": Word("Celery", _SUBMIT),
    "apply_async": Word("Celery", _LATER),
    "s": Word("Celery", _CALL),
    "si": Word("Celery", _CALL),
    "signature": Word("Celery", _CALL),
    "send": Word("dramatiq", _SUBMIT),
    "send_with_options": Word("dramatiq", _LATER),
    "message": Word("dramatiq", _CALL),
    "enqueue": Word("RQ", _SUBMIT),
    "enqueue_job": Word("arq", _SUBMIT),
    "kiq": Word("taskiq", _SUBMIT),
    "kicker": Word("taskiq", _CONFIGURED),
    "schedule": Word("Huey", _LATER),
    "defer": Word("Procrastinate", _SUBMIT),
    "defer_async": Word("Procrastinate", _SUBMIT),
    "configure": Word("Procrastinate", _CONFIGURED),
    "AsyncResult": Word("Celery", _BY_ID),
    "apply": Word("Celery", "`handler(...)`, which runs the function here and now"),
    "run": Word("Celery", "`handler(...)`, which runs the function here and now"),
    "fn": Word("dramatiq", "`handler(...)`, which runs the function here and now"),
    "map": Word("Celery", _MANY),
    "starmap": Word("Celery", _MANY),
    "chunks": Word("Celery", _MANY),
    "request": Word(
        "Celery", "`ctx: Context` as the first parameter, then `ctx.id`, `ctx.attempt`"
    ),
    "retry": Word("Celery", "`raise Retry(delay=60)` in the handler"),
    "update_state": Word(
        "Celery", "`ctx: Context` as the first parameter, then `ctx.progress(50)`"
    ),
}

_NAMED = "`await app.submit('name', ...)`, or `app.sync.submit(...)` in plain code"
_TASK = "`@app.task`"
_EACH = "`@app.every(60)` or `@app.cron('0 9 * * *')` above the function"
_OPENED = "`async with app:`, or `with app.sync:` in plain code"
_WORKER = "`xqueue worker jobs.py` in a shell"
_SETTINGS = "keywords of `XQueue(...)`, or `xqueue.toml`"

#: Of apps, and of their twins for plain code.
APP: Mapping[str, Word] = {
    "send_task": Word("Celery", _NAMED),
    "enqueue": Word("RQ", f"{_SUBMIT}; by its type's name {_NAMED}"),
    "enqueue_in": Word("RQ", _LATER),
    "enqueue_at": Word("RQ", "`await handler.options(run_at=...).submit(...)`"),
    "enqueue_job": Word("arq", f"{_SUBMIT}; by its type's name {_NAMED}"),
    "startup": Word("taskiq", _OPENED),
    "shutdown": Word("taskiq", _OPENED),
    "conf": Word("Celery", _SETTINGS),
    "config_from_object": Word("Celery", _SETTINGS),
    "autodiscover_tasks": Word("Celery", "`app.include(tasks)`"),
    "worker_main": Word("Celery", _WORKER),
    "start": Word("Celery", _WORKER),
    "Worker": Word("Celery", _WORKER),
    "AsyncResult": Word("Celery", _BY_ID),
    "fetch_job": Word("RQ", _BY_ID),
    "signature": Word("Celery", _CALL),
    "tasks": Word("Celery", "`app.handlers`"),
    "backend": Word("Celery", "`await handle.result()`: results are kept by the broker"),
    "control": Word(
        "Celery",
        "`await handle.cancel()` for revoke; the others are commands in a shell: `xqueue workers "
        "list`, `xqueue lanes limit`, `xqueue purge`",
    ),
}

#: Of whatever types are declared on.
DECLARING: Mapping[str, Word] = {
    "shared_task": Word("Celery", _TASK),
    "actor": Word("dramatiq", _TASK),
    "job": Word("RQ", _TASK),
    "periodic_task": Word("Huey", _EACH),
    "on_after_configure": Word("Celery", _EACH),
    "add_periodic_task": Word("Celery", _EACH),
}

_RESULT = "`await handle.result(timeout=30)`, or `handle.result(timeout=30)` in plain code"
_STATE = "`await handle.state()`, or `handle.state()` in plain code"
_CANCEL = "`await handle.cancel()`, or `handle.cancel()` in plain code"
_WHY = "`await handle.why()`, or `handle.why()` in plain code; TaskFailed, which `result()` raises"
_WHY += ", has it as `error.traceback`"
_FORGET = "`@app.task(result_ttl=0)`, which keeps no result"

#: Of handles.
HANDLE: Mapping[str, Word] = {
    "get": Word("Celery", _RESULT),
    "get_result": Word("dramatiq", _RESULT),
    "return_value": Word("RQ", _RESULT),
    "wait_result": Word("taskiq", _RESULT),
    "ready": Word("Celery", _STATE),
    "successful": Word("Celery", _STATE),
    "status": Word("Celery", _STATE),
    "get_status": Word("RQ", _STATE),
    "revoke": Word("Celery", _CANCEL),
    "abort": Word("arq", _CANCEL),
    "failed": Word("Celery", _STATE),
    "is_failed": Word("RQ", _STATE),
    "is_finished": Word("RQ", _STATE),
    "traceback": Word("Celery", _WHY),
    "exc_info": Word("RQ", _WHY),
    "forget": Word("Celery", _FORGET),
    "result_ttl": Word("RQ", _FORGET),
    "children": Word("Celery", "`app.handle(id)` for each id that the handler returns"),
}

#: Of contexts.
CONTEXT: Mapping[str, Word] = {
    "request": Word("Celery", "`ctx.id`, `ctx.attempt`, `ctx.headers`"),
    "task_id": Word("taskiq", "`ctx.id`"),
    "job_id": Word("arq", "`ctx.id`"),
    "job_try": Word("arq", "`ctx.attempt`, which is 1 for the first"),
    "retry": Word("Celery", "`raise Retry(delay=60)`"),
    "retries": Word("Celery", "`ctx.attempt`, which is 1 for the first"),
    "update_state": Word("Celery", "`await ctx.progress(50)`, or `ctx.progress_nowait(50)`"),
}

_APP = "`from xqueue_core import XQueue`, then `app = XQueue()`"
_ON_APP = "`@app.task` of `app = XQueue()`; a library's are `@tasks.task` of `tasks = Tasks()`"
_AFTER = "`await other.submit(...)` at the end of the handler: there are no workflows"

#: Of the package itself.
PACKAGE: Mapping[str, Word] = {
    "Celery": Word("Celery", _APP),
    "Huey": Word("Huey", _APP),
    "Queue": Word("RQ", _APP),
    "shared_task": Word("Celery", _ON_APP),
    "actor": Word("dramatiq", _ON_APP),
    "job": Word("RQ", _ON_APP),
    "Worker": Word("RQ", _WORKER),
    "AsyncResult": Word("Celery", _BY_ID),
    "current_task": Word("Celery", "`ctx: Context` as the first parameter of the handler"),
    "get_current_job": Word("RQ", "`ctx: Context` as the first parameter of the handler"),
    "signature": Word("Celery", _CALL),
    "group": Word("Celery", _MANY),
    "chain": Word("Celery", _AFTER),
    "chord": Word("Celery", _AFTER),
    "crontab": Word("Celery", _EACH),
    "Ignore": Word("Celery", "`raise Reject('why')`, or return"),
}


def of_package(name: str) -> ConfigError | None:
    """The error for ``from xqueue_core import ...`` of another product's name, if it is one.

    No AttributeError: an import would make an ImportError of it, which does not tell the line.
    """
    if (word := PACKAGE.get(name)) is None:
        return None
    return ConfigError(f"xqueue_core has no {name!r}, which is {word.product}'s: write {word.line}")


class _Foreign:
    """Raises whenever it is asked for."""

    __slots__ = ("_name", "_word")

    def __init__(self, name: str, word: Word) -> None:
        self._name = name
        self._word = word

    def __get__(self, instance: object, owner: type) -> NoReturn:
        product, line = self._word
        raise ForeignName(
            f"{owner.__name__} has no {self._name!r}, which is {product}'s: write {line}"
        )


def tells(*tables: Mapping[str, Word]) -> Callable[[C], C]:
    """Let a class tell what to write for these names; ``hasattr`` and ``dir`` know none of them."""

    def told(cls: C) -> C:
        for name, word in ((name, table[name]) for table in tables for name in table):
            if not hasattr(cls, name):
                setattr(cls, name, _Foreign(name, word))
        cls.__dir__ = _listed  # type: ignore[method-assign,assignment]
        return cls

    return told


def _listed(self: object) -> list[str]:
    return [name for name in object.__dir__(self) if not _is_foreign(type(self), name)]


def _is_foreign(cls: type, name: str) -> bool:
    found = next((vars(base)[name] for base in cls.__mro__ if name in vars(base)), None)
    return isinstance(found, _Foreign)
