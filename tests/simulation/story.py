"""What happened in a schedule: a line for each thing, cheap to keep, readable when it matters."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from hashlib import blake2b

from support.history.events import AnyEvent
from xqueue_core.task import Event

#: A moment, who, what, and the rest of the sentence.
Line = tuple[float, str, str, str]


class Story:
    """Lines for readers, and the same run as events for the checkers."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.lines: list[Line] = []
        self.events: list[AnyEvent] = []
        self.closed = False  # what the dead do when they are buried is no part of it

    def say(self, who: str, what: str, rest: str = "") -> None:
        """Note a line."""
        if not self.closed:
            self.lines.append((self._clock(), who, what, rest))

    def note(self, event: AnyEvent) -> None:
        """Note an event for the checkers."""
        if not self.closed:
            self.events.append(event)

    def digest(self, log: Iterable[Event]) -> str:
        """A short hash of everything that happened, in its order."""
        known = blake2b(digest_size=8)
        for at, who, what, rest in self.lines:
            known.update(f"{at:.6f} {who} {what} {rest}\n".encode())
        for event in log:
            known.update(
                f"{event.id} {event.seq} {event.name} {event.at:.6f} {event.worker}".encode()
            )
        return known.hexdigest()

    def written(self, log: Iterable[Event], wall: float) -> list[str]:
        """Lines and the broker's own events, in order of time; ``wall`` is the broker's at 0."""
        lines = list(self.lines)
        for event in log:
            text = f"{event.id} -> {event.state} (attempt {event.attempt}, token {event.delivery})"
            where = f" {event.worker}" if event.worker else ""
            why = f" {event.reason}" if event.reason else ""
            lines.append((event.at - wall, "broker", event.name.value, text + where + why))
        lines.sort(key=lambda line: line[0])
        return [
            f"{at - 1000.0:10.6f}  {who:<12} {what:<12} {rest}".rstrip()
            for at, who, what, rest in lines
        ]
