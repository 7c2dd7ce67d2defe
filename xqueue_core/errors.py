"""Every error XQueue raises: one small tree, by area.

A message says what was wrong, where, and what to do about it; the cause is chained. The first
line of a class's docstring is its message when it is raised without one. A wait that ends
without an answer is the built-in :class:`TimeoutError`.
"""

from __future__ import annotations

from typing import Any


class XQueueError(Exception):
    """Base of every error raised by XQueue."""

    def __init__(self, message: str | None = None, *args: Any) -> None:
        doc = (type(self).__doc__ or "").partition("\n")[0]
        super().__init__(message if message is not None else doc, *args)


# -- configuration: wrong before anything ran ----------------------------------------------


class ConfigError(XQueueError):
    """The configuration is wrong; nothing was started."""


class UnknownSetting(ConfigError):
    """A setting's name is not known."""


class ForeignName(ConfigError, AttributeError):
    """Another task queue has a method or attribute of this name, and XQueue another word for it."""


class NoDatabase(ConfigError):
    """There is no database of XQueue's there, and none was to be made."""


class PluginNotFound(ConfigError):
    """No installed plugin has this name."""


class PluginUnavailable(ConfigError):
    """The plugin is installed but cannot be used, most often because an extra is missing."""


class PluginIncompatible(ConfigError):
    """The plugin was built for another version of the plugin API."""


class PluginFailed(XQueueError):
    """A plugin that the settings name could not be opened; trying again may help."""


# -- submitting: the task was not accepted --------------------------------------------------


class SubmitError(XQueueError):
    """The task was not accepted."""


class InvalidTask(SubmitError):
    """The task's id, options or payload do not have the right form."""


class UnknownType(SubmitError):
    """No application has declared this task type."""


class PayloadTooLarge(SubmitError):
    """The encoded payload exceeds the largest one allowed."""


# -- brokers ---------------------------------------------------------------------------------


class BrokerError(XQueueError):
    """A call to the broker failed as a whole.

    Attributes:
        answered: the broker is there and answered with this error, so that what is in the call may
            be at fault; false where it may only be away.
    """

    answered: bool = False


class Unavailable(BrokerError):
    """The broker could not be reached; nothing happened, and repeating is safe."""


class Unknown(BrokerError):
    """The call may or may not have happened; repeating it is safe.

    Also where the broker answered that it failed half way: then ``answered`` is true.
    """


class Refused(BrokerError):
    """The broker refused the call for good; repeating it will not help."""

    answered = True


class WorkerIdTaken(Refused):
    """Another process works under this worker id."""


class BrokerGone(Refused):
    """What was opened is gone for good; only a new process finds what is there now.

    Such as a database file that was removed or replaced. A worker ends by it.
    """


class Unsupported(XQueueError):
    """The backend cannot do this."""


class NothingRuns(XQueueError):
    """Nothing runs tasks here, so that the wait for one would never end.

    Within ``app.testing()``, before ``t.run_all()`` or its like is called.
    """


class LeaseLost(XQueueError):
    """This delivery is no longer the current one: another worker may have the task."""


# -- a task's end, as seen through its handle ----------------------------------------------


class TaskError(XQueueError):
    """The task did not end in success.

    Attributes:
        task_id: the task's full id, or ``""`` where none is known.
    """

    def __init__(self, message: str | None = None, task_id: str = "") -> None:
        super().__init__(message)
        self.task_id = task_id


class TaskFailed(TaskError):
    """The task failed for good.

    Attributes:
        reason: machine-readable word, for example ``exception``, ``rejected``, ``worker_lost``.
        error_type: qualified name of the exception the handler raised, or ``""``. Of Python's own
            and of XQueue's it is the name alone: ``ValueError``, ``Reject``.
        traceback: text of the handler's traceback, or ``""``.
    """

    def __init__(
        self,
        message: str | None = None,
        task_id: str = "",
        *,
        reason: str = "",
        error_type: str = "",
        traceback: str = "",
    ) -> None:
        super().__init__(message, task_id)
        self.reason = reason
        self.error_type = error_type
        self.traceback = traceback


class TaskCanceled(TaskError):
    """The task was canceled."""


class TaskTimedOut(TaskError):
    """The task waited or ran longer than it was allowed to."""


class InvalidResult(TaskError, InvalidTask):
    """The task succeeded, but its result does not fit the handler's return annotation."""


class ResultExpired(TaskError):
    """No record of the task is kept: it ended long ago, was purged, or there never was one."""
