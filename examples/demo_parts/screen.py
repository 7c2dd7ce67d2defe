"""What is seen while the demo runs: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
import time
from collections.abc import Collection
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from demo_parts.history import Line
from demo_parts.names import shown

#: Least time between two plain lines (seconds).
PLAIN_EVERY = 1.0


class Screen:
    """Plain lines, at most one a second."""

    def __init__(self, console: Console, total: int, done: int) -> None:
        self.console = console
        self.total = total
        self.done = done
        self.failed = 0
        self._said = -1
        self._said_at = time.monotonic()

    def __enter__(self) -> Screen:
        return self

    def __exit__(self, *_: object) -> None:
        self._say(0)

    def row(self, ok: bool) -> None:
        """One more row is recorded."""
        self.done += 1
        self.failed += not ok

    def show(self, running: Collection[Line]) -> None:
        """Bring it up to date with what runs just now. Called several times a second."""
        if time.monotonic() - self._said_at >= PLAIN_EVERY:
            self._say(len(running))

    def _say(self, running: int) -> None:
        self._said_at = time.monotonic()
        if self.done == self._said:
            return
        self._said = self.done
        failed = f", {self.failed} of them failed" if self.failed else ""
        say(
            self.console,
            f"{self.done} of {self.total} files recorded{failed}; {running} running",
        )


class Bars(Screen):
    """A bar, and a line for each file that is worked on."""

    def __init__(self, console: Console, total: int, done: int) -> None:
        super().__init__(console, total, done)
        self._bar = Progress(
            TextColumn("files"),
            BarColumn(bar_width=None),
            TaskProgressColumn("{task.completed} of {task.total}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
        )
        self._files = self._bar.add_task("files", total=total, completed=done)
        self._live = Live(self._bar, console=console, refresh_per_second=10)

    def __enter__(self) -> Screen:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.show([])
        self._live.stop()

    def show(self, running: Collection[Line]) -> None:
        """Bring the bar and the lines up to date."""
        self._bar.update(self._files, completed=self.done)
        lines = [self._line(line) for line in running]
        self._live.update(Group(self._bar, *lines))

    def _line(self, line: Line) -> Text:
        again = f" (attempt {line['attempt']})" if line["attempt"] > 1 else ""
        text = Text(f"  {shown(Path(line['path']).name)}{again}", style="dim")
        text.truncate(self.console.width, overflow="ellipsis")
        return text


def make_console() -> Console:
    """Where all is printed. NO_COLOR turns every effect off, not only colours."""
    return Console(highlight=False, force_terminal=False if os.environ.get("NO_COLOR") else None)


def make_screen(console: Console, total: int, done: int) -> Screen:
    """Bars on a terminal that wants them."""
    bars = console.is_terminal and not console.is_dumb_terminal
    return Bars(console, total, done) if bars else Screen(console, total, done)


def say(console: Console, text: str, style: str = "") -> None:
    """Print one line as it is, however long: names are not markup, and are not broken."""
    console.print(text, style=style, markup=False, soft_wrap=True)
