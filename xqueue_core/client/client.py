"""Submits calls and makes handles, on whatever event loop it is used."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from xqueue_core.calls import Accepted, Put
from xqueue_core.client.again import safe
from xqueue_core.client.call import Call, listed
from xqueue_core.client.elsewhere import Elsewhere, on_trio
from xqueue_core.client.plugs import MakePlugged
from xqueue_core.client.retrying import Retrying
from xqueue_core.client.session import Connect, Session, Sessions
from xqueue_core.errors import Unknown
from xqueue_core.handle import Decode, Handle, any_json
from xqueue_core.handlers import HandlerSpec
from xqueue_core.ids import Uuid7

R = TypeVar("R")


class Client:
    """The client of one app.

    Args:
        connect: opens a connection on the running event loop.
        retrying: how calls to the broker are repeated.
        plugged: makes the plugins, if the settings name any.
    """

    def __init__(
        self,
        connect: Connect,
        retrying: Retrying | None = None,
        plugged: MakePlugged | None = None,
    ) -> None:
        self._connect, self._retrying, self._plugged = connect, retrying or Retrying(), plugged
        self._sessions = self._new_sessions()
        self.uuid = Uuid7()
        self.elsewhere = Elsewhere()  # for plain code, and callers on trio

    def _new_sessions(self) -> Sessions:
        return Sessions(self._connect, self._retrying, self._plugged)

    @property
    def session(self) -> Session:
        """The session of the running event loop."""
        return self._sessions.current()

    def submits(self, spec: HandlerSpec) -> tuple[Client, HandlerSpec]:
        """Itself: a type declared on an app is submitted by the app's client."""
        return self, spec

    async def submit(self, call: Call[R]) -> Handle[R]:
        """Get one call accepted; see :meth:`xqueue_core.app.XQueue.submit` for what it raises."""
        return self._accepted(call, await self.session.submit(call.task))

    async def submit_many(self, calls: Iterable[Call[R]]) -> list[Handle[R]]:
        """Get many calls accepted; if any was not, the first error is raised, with a note."""
        wanted = listed(calls)
        answers = await self.session.submit_many([call.task for call in wanted])
        errors = [answer for answer in answers if isinstance(answer, Exception)]
        if errors:
            unknown = sum(isinstance(error, Unknown) for error in errors)
            refused, taken = len(errors) - unknown, len(answers) - len(errors)
            errors[0].add_note(
                f"of {len(answers)} tasks {taken} were accepted, {refused} were not, and of "
                f"{unknown} it is unknown; submitting the same calls again is "
                f"{safe([call.task for call in wanted])}, as each has its id"
            )
            raise errors[0]
        return [
            self._accepted(call, answer)
            for call, answer in zip(wanted, answers, strict=True)
            if isinstance(answer, Accepted)
        ]

    def handle(self, id: str, decode: Decode[Any] = any_json) -> Handle[Any]:
        """A handle for any task."""
        return Handle(self, id, decode)

    @contextmanager
    def set_aside(self) -> Iterator[None]:
        """Within, nothing is open; what is opened within is closed at the end, on every loop."""
        sessions, elsewhere = self._sessions, self.elsewhere
        self._sessions, self.elsewhere = self._new_sessions(), Elsewhere()
        try:
            yield
        finally:
            self._sessions.abandon()
            self.elsewhere.stop()
            self._sessions, self.elsewhere = sessions, elsewhere

    async def close(self) -> None:
        """Close what is open on the running event loop; on trio, what is open elsewhere."""
        if on_trio():
            await self.elsewhere.close(self._sessions.end)
        else:
            await self._sessions.close()

    def _accepted(self, call: Call[R], answer: Accepted) -> Handle[R]:
        duplicate = answer.put is Put.DUPLICATE
        return Handle(self, (duplicate and answer.of) or call.id, call.decode, duplicate=duplicate)
