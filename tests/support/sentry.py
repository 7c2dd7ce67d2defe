"""What a tool that tracks errors does, as small as can be: it keeps events with stack frames."""

from __future__ import annotations

import contextvars
import traceback
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Event:
    """One error."""

    kind: str
    message: str
    frames: list[str]
    tags: dict[str, Any]
    breadcrumbs: tuple[str, ...]


#: What the code around has left, as such tools keep it: in the context of who runs.
breadcrumbs: contextvars.ContextVar[tuple[str, ...]] = contextvars.ContextVar(
    "breadcrumbs", default=()
)


def add_breadcrumb(text: str) -> None:
    """Leave a word for an error that may come."""
    breadcrumbs.set((*breadcrumbs.get(), text))


@dataclass
class Tracker:
    """Keeps what it is given."""

    events: list[Event] = field(default_factory=list)

    def capture_exception(self, error: BaseException, **tags: Any) -> None:
        """Keep one."""
        frames = [one.name for one in traceback.extract_tb(error.__traceback__)]
        event = Event(type(error).__name__, str(error), frames, tags, breadcrumbs.get())
        self.events.append(event)
