"""A declared task type from the side of plain code: the twin of ``Submitter``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, ParamSpec, TypeVar

from xqueue_core.client.sync.handle import SyncHandle
from xqueue_core.foreign import SUBMITTING, tells

if TYPE_CHECKING:
    from typing import Unpack

    from xqueue_core.client.call import Call
    from xqueue_core.client.handler import Submitter
    from xqueue_core.client.options import SubmitOptions
    from xqueue_core.handlers import HandlerSpec

P = ParamSpec("P")
R = TypeVar("R")


@tells(SUBMITTING)
class SyncSubmitter(Generic[P, R]):
    """Submits tasks of one type with given options, from plain code: ``handler.sync``.

    Any thread may use it, several at once, and a forked child. On a running event loop of asyncio
    or trio, which would be blocked, :meth:`submit` raises Unsupported: there use that of the
    handler.
    """

    __slots__ = ("_submitter",)

    def __init__(self, submitter: Submitter[P, R]) -> None:
        self._submitter = submitter

    @property
    def spec(self) -> HandlerSpec:
        """All that was declared."""
        return self._submitter.spec

    def submit(self, /, *args: P.args, **kwargs: P.kwargs) -> SyncHandle[R]:
        """Submit one task with these arguments. When it returns, the task is durable.

        What interrupts it, as KeyboardInterrupt does, has a note that gives the id and says
        whether it was accepted.

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
        client = self._submitter._client
        call = self.call(*args, **kwargs)
        handle = client.elsewhere.wait(
            lambda: client.submit(call), f"await {self.spec.function.__name__}.submit(...)"
        )
        return SyncHandle(handle)

    def call(self, *args: P.args, **kwargs: P.kwargs) -> Call[R]:
        """The task, checked and encoded but not submitted: for :meth:`SyncApp.submit_many`.

        Raises InvalidTask, PayloadTooLarge and ConfigError as :meth:`submit` does.
        """
        return self._submitter.call(*args, **kwargs)

    def options(self, **options: Unpack[SubmitOptions]) -> SyncSubmitter[P, R]:
        """The same with other options; what is not named stays as it was.

        They are those of :meth:`Submitter.options`.

        Raises:
            InvalidTask: an option is unknown, or its value out of range.
        """
        return SyncSubmitter(self._submitter.options(**options))
