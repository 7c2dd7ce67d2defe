"""Options and settings of other task queues: what to write here for each."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from enum import Enum, auto
from typing import NamedTuple

from xqueue_core.foreign import Word

#: Longest value that is shown in the line to write (characters).
SHORT = 80


class Whose(Enum):
    """What an option is for."""

    TYPE = auto()  # @app.task(...) alone
    TASK = auto()  # .options(...) alone
    BOTH = auto()


class Option(NamedTuple):
    """An option of another product, and what stands for it here.

    ``line`` holds ``{}`` where the value given goes, if it means the same. With a ``sample`` only a
    number or a timedelta means the same; else the sample stands there.
    """

    product: str
    line: str
    whose: Whose = Whose.BOTH
    remark: str = ""
    sample: str = ""


_EVERY = "retry=RetryPolicy(no_retry=(ValueError,))"
_BACKOFF = "retry=RetryPolicy(base=1, factor=2, cap=600)"
_SECONDS = ", in seconds"
_NOT_MS = ", in seconds, not milliseconds"
_LIMIT = ", in seconds (of dramatiq's milliseconds a thousandth)"
_COUNTED = ", the retries after the first attempt"
_FAILS = ": all exceptions are retried but those named there"

#: By the name of the option.
OPTIONS: Mapping[str, Option] = {
    "max_retries": Option("Celery", "max_retry={}", remark=_COUNTED),
    "retries": Option("Huey", "max_retry={}", remark=_COUNTED),
    "max_tries": Option("arq", "max_retry=4", remark=_COUNTED),
    "autoretry_for": Option("Celery", _EVERY, Whose.TYPE, _FAILS),
    "retry_for": Option("Celery", _EVERY, Whose.TYPE, _FAILS),
    "dont_autoretry_for": Option("Celery", _EVERY, Whose.TYPE),
    "throws": Option("dramatiq", _EVERY, Whose.TYPE),
    "retry_on_error": Option("taskiq", _EVERY, Whose.TYPE, _FAILS),
    "retry_backoff": Option("Celery", _BACKOFF, Whose.TYPE),
    "retry_backoff_max": Option("Celery", "retry=RetryPolicy(cap={})", Whose.TYPE),
    "retry_jitter": Option("Celery", _BACKOFF, Whose.TYPE, ", which has jitter"),
    "default_retry_delay": Option("Celery", _BACKOFF, Whose.TYPE),
    "min_backoff": Option("dramatiq", _BACKOFF, Whose.TYPE, _NOT_MS),
    "max_backoff": Option("dramatiq", _BACKOFF, Whose.TYPE, _NOT_MS),
    "countdown": Option("Celery", "delay={}"),
    "_defer_by": Option("arq", "delay={}"),
    "eta": Option("Celery", "run_at={}", Whose.TASK),
    "_defer_until": Option("arq", "run_at={}", Whose.TASK),
    "time_limit": Option("Celery", "process_timeout={}", remark=_LIMIT, sample="30"),
    "soft_time_limit": Option("Celery", "process_timeout={}", remark=_SECONDS, sample="30"),
    "job_timeout": Option("RQ", "process_timeout={}", remark=_SECONDS, sample="30"),
    "expires": Option("Celery", "queue_timeout={}", remark=_SECONDS, sample="600"),
    "ttl": Option("RQ", "queue_timeout={}", remark=_SECONDS, sample="600"),
    "_expires": Option("arq", "queue_timeout={}", remark=_SECONDS, sample="600"),
    "max_age": Option("dramatiq", "queue_timeout=600", remark=_NOT_MS),
    "queue": Option("Celery", "lane={}", Whose.TYPE),
    "queue_name": Option("dramatiq", "lane={}", Whose.TYPE),
    "routing_key": Option("Celery", "lane={}", Whose.TYPE),
    "_queue_name": Option("arq", "lane={}", Whose.TYPE),
    "rate_limit": Option("Celery", "max_concurrency=10", Whose.TYPE, ": how many at once"),
    "actor_name": Option("dramatiq", "name={}", Whose.TYPE),
    "task_name": Option("taskiq", "name={}", Whose.TYPE),
    "ignore_result": Option("Celery", "result_ttl=0"),
    "result_expires": Option("Celery", "result_ttl={}"),
    "keep_result": Option("arq", "result_ttl={}"),
    "task_id": Option("Celery", "id={}", Whose.TASK),
    "job_id": Option("RQ", "id={}", Whose.TASK),
    "_job_id": Option("arq", "id={}", Whose.TASK),
}


_CONTEXT = "write `def handler(ctx: Context, ...)`, without any option"
_HELD = "leave it out: a task is held until it has ended, and runs again if its worker dies"
_AROUND = "write what is around each run as middleware, `XQueue(middleware=[around])`"
_JSON = (
    "leave it out: arguments travel as JSON. Another form needs an installed plugin that has a "
    "serializer for it, and `content_type=...`; XQueue has none for pickle"
)
_ERRORS = "put `@app.on_error` above a function, which is told of each error"
_NEXT = "let the handler submit what comes next, by `await other.submit(...)` at its end"

#: Options that nothing stands for: product and what to do instead.
WITHOUT: Mapping[str, Word] = {
    "bind": Word("Celery", _CONTEXT),
    "base": Word("Celery", _AROUND),
    "serializer": Word("Celery", _JSON),
    "track_started": Word("Celery", "leave it out: `await handle.state()` always tells"),
    "link": Word("Celery", _NEXT),
    "link_error": Word("Celery", _ERRORS),
    "on_success": Word("RQ", _NEXT),
    "on_failure": Word("RQ", _ERRORS),
    "depends_on": Word("RQ", _NEXT),
    "pass_context": Word("Procrastinate", _CONTEXT),
    "acks_late": Word("Celery", _HELD),
    "reject_on_worker_lost": Word("Celery", _HELD),
}


def option_hint(name: str, value: object, place: Whose) -> str:
    """What to write for an option that another product has; ``""`` if none of them does.

    ``place`` is where it was given: ``TYPE`` for ``@app.task``, ``TASK`` for ``.options``, or
    ``BOTH`` for neither, as among the arguments.
    """
    if (without := WITHOUT.get(name)) is not None:
        return f"which is {without.product}'s: {without.line}"
    if (found := OPTIONS.get(name)) is None:
        return ""
    line, whose = _line(found, value), found.whose
    if whose is Whose.TYPE and place is not Whose.TYPE:
        line = f"@app.task({line})"
    elif place is Whose.BOTH or (whose is Whose.TASK and place is not Whose.TASK):
        line = f"handler.options({line})"
    return f"which is {found.product}'s: write `{line}`{found.remark}"


def schedule_hint(name: str, value: object, known: Collection[str]) -> str:
    """The same for an option of a schedule; ``known`` are those that it has."""
    found = OPTIONS.get(name)
    if found is None:
        return option_hint(name, value, Whose.TYPE)
    line = _line(found, value)
    ours = line.partition("=")[0]
    if ours in known:
        return f"which is {found.product}'s: write `{line}`{found.remark}"
    if found.whose is Whose.TASK or ours in ("delay", "run_at"):
        return f"which is {found.product}'s: leave it out, the schedule itself says when"
    return f"which is {found.product}'s: write `@app.task({line})` below it{found.remark}"


#: Of ``Retry(...)``.
RETRY: Mapping[str, Option] = {
    "countdown": Option("Celery", "raise Retry({})", sample="60"),
    "defer": Option("arq", "raise Retry({})", sample="60"),
    "eta": Option("Celery", "raise Retry(60)", remark=_SECONDS),
    "when": Option("Celery", "raise Retry({})", sample="60", remark=_SECONDS),
    "exc": Option("Celery", "raise Retry() from error"),
    "message": Option("Celery", "raise Retry(reason={})"),
    "max_retries": Option("Celery", "@app.task(max_retry={})", remark=_COUNTED),
}
#: Of ``RetryPolicy(...)``.
POLICY: Mapping[str, Option] = {
    "max_retries": Option("Celery", "@app.task(max_retry={}, retry=RetryPolicy())"),
    "max_retry": Option("@app.task", "@app.task(max_retry={}, retry=RetryPolicy())"),
    "retries": Option("Huey", "@app.task(max_retry={}, retry=RetryPolicy())"),
    "max_tries": Option("arq", "@app.task(max_retry=4, retry=RetryPolicy())", remark=_COUNTED),
    "max": Option("RQ", "@app.task(max_retry={}, retry=RetryPolicy())"),
    "interval": Option("RQ", _BACKOFF),
    "countdown": Option("Celery", _BACKOFF),
    "retry_delay": Option("Huey", _BACKOFF),
    "retry_backoff": Option("Celery", _BACKOFF),
    "retry_backoff_max": Option("Celery", "RetryPolicy(cap={})"),
    "retry_jitter": Option("Celery", _BACKOFF, remark=", which has jitter"),
    "min_backoff": Option("dramatiq", _BACKOFF, remark=_NOT_MS),
    "max_backoff": Option("dramatiq", _BACKOFF, remark=_NOT_MS),
}


_URL = 'XQueue("sqlite:///jobs.db")'
_FIRST = ": its first argument is the broker's URL, and an app has no name"
_KEPT = "which is {}'s: leave it out, the broker keeps the results, as long as `result_ttl` says"
_INCLUDE = (
    "which is {}'s: import the modules, and of a library's `tasks = Tasks()` write "
    "`app.include(tasks)`"
)

#: Of ``XQueue(...)``.
SETTINGS: Mapping[str, Option] = {
    "broker": Option("Celery", _URL, remark=_FIRST),
    "broker_url": Option("Celery", _URL, remark=_FIRST),
    "main": Option("Celery", _URL, remark=_FIRST),
    "connection": Option("RQ", _URL, remark=_FIRST),
    "redis_settings": Option("arq", _URL, remark=_FIRST),
    "task_always_eager": Option("Celery", 'XQueue("inline://")'),
    "is_async": Option("RQ", 'XQueue("inline://")', remark=", if False was meant"),
    "immediate": Option("Huey", 'XQueue("inline://")', remark=", if True was meant"),
    "result_expires": Option("Celery", "@app.task(result_ttl={})", remark=_SECONDS, sample="3600"),
    "keep_result": Option("arq", "@app.task(result_ttl={})", remark=_SECONDS, sample="3600"),
    "task_time_limit": Option("Celery", "@app.task(process_timeout={})", sample="30"),
    "job_timeout": Option("arq", "@app.task(process_timeout={})", sample="30"),
    "task_default_queue": Option("Celery", "@app.task(lane={})"),
    "default_queue": Option("Celery", "@app.task(lane={})"),
    "worker_concurrency": Option("Celery", "XQueue(concurrency={})", sample="100"),
    "max_jobs": Option("arq", "XQueue(concurrency={})", sample="100"),
    "worker_prefetch_multiplier": Option(
        "Celery", "XQueue(prefetch=10)", remark=", a number of tasks"
    ),
    "worker_max_tasks_per_child": Option("Celery", "XQueue(tasks_per_child={})", sample="1"),
    "beat_schedule": Option(
        "Celery", "@app.every(60)", remark=" above the function, or `@app.cron`"
    ),
    "cron_jobs": Option("arq", "@app.cron('0 9 * * *')", remark=" above the function"),
    "timezone": Option("Celery", "@app.cron('0 9 * * *', tz={})"),
    "functions": Option("arq", "@app.task", remark=" above each function"),
    "on_startup": Option("arq", "XQueue(lifespan=...)"),
    "on_shutdown": Option("arq", "XQueue(lifespan=...)"),
}
_SENTENCES: Mapping[str, str] = {
    "backend": _KEPT.format("Celery"),
    "result_backend": _KEPT.format("Celery"),
    "include": _INCLUDE.format("Celery"),
    "imports": _INCLUDE.format("Celery"),
    "task_serializer": f"which is Celery's: {_JSON}",
    "accept_content": f"which is Celery's: {_JSON}",
    "result_serializer": f"which is Celery's: {_JSON}",
    "task_acks_late": f"which is Celery's: {_HELD}",
}


def setting_hint(name: str, value: object) -> str:
    """What to write for a setting that another product has; ``""`` if none of them does."""
    return _SENTENCES.get(name) or told(SETTINGS, name, value)


def told(table: Mapping[str, Option], name: str, value: object) -> str:
    """What to write for it by one table; ``""`` if it is not there."""
    if (found := table.get(name)) is None:
        return ""
    return f"which is {found.product}'s: write `{_line(found, value)}`{found.remark}"


def _line(option: Option, value: object) -> str:
    text = _shown(value)
    # A bool is an int.
    if option.sample and (type(value) not in (int, float, timedelta) or text == "..."):
        text = option.sample
    return option.line.replace("{}", text)


def _shown(value: object) -> str:
    plain = isinstance(value, bool | int | float | str | datetime | timedelta)
    text = repr(value) if plain else "..."
    return text if len(text) <= SHORT else "..."
