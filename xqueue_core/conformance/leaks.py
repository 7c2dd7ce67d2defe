"""What openings leave behind in this process: tasks of the event loop, threads, open files."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Hashable, Mapping
from pathlib import Path

#: Where the system lists what this process has open; the first that exists.
FOLDERS = ("/proc/self/fd", "/dev/fd")


class Traces:
    """What has appeared since this was made, and is still there.

    Each thing is known by what it is, not by how many there are: what goes away elsewhere in the
    process does not hide what stays.
    """

    def __init__(self) -> None:
        self._before = _now()

    def left(self, least: int) -> str:
        """The kinds of which so many or more are left, with their number; "" if none."""
        found = {kind: things.keys() - self._before[kind] for kind, things in _now().items()}
        return ", ".join(
            f"{len(new)} {kind}, one of them {_now()[kind].get(next(iter(new)), 'gone by now')}"
            for kind, new in found.items()
            if len(new) >= least
        )


def _now() -> Mapping[str, Mapping[Hashable, str]]:
    return {
        "tasks": {task: task.get_name() for task in asyncio.all_tasks()},
        "threads": {thread: thread.name for thread in threading.enumerate()},
        "open files": {(number, name): name for number, name in _open_files()},
    }


def _open_files() -> list[tuple[str, str]]:
    found = []
    folder = next((one for one in FOLDERS if Path(one).is_dir()), None)
    for number in os.listdir(folder) if folder else ():
        try:
            found.append((number, os.readlink(f"{folder}/{number}")))
        except OSError:  # closed by now, or no link
            continue
    return found
