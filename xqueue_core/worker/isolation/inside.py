"""Whether this process is a child, and what a child must not do.

That is a fact about the process, as ``sys.argv`` is, written once by the child's main program
before it loads any code of the user's. An environment variable would also be seen by whatever a
handler starts, such as a worker in a process of its own, which is not forbidden.
"""

from __future__ import annotations

from enum import Enum

from xqueue_core.errors import ConfigError


class Place(Enum):
    """What this process is."""

    OUTSIDE = "no child"
    LOADING = "a child that loads the app"
    SERVING = "a child that runs tasks"


class Process:
    """This process."""

    def __init__(self) -> None:
        self.place = Place.OUTSIDE


#: Of the whole process: what starts a worker may be in any thread, and in any context.
here = Process()


def refuse_workers() -> None:
    """Raise ConfigError in a child: its worker would start a child, and that one another."""
    if here.place is Place.LOADING:
        raise ConfigError(
            "this module starts a worker when it is imported by a child of isolation='process': "
            "put that below `if __name__ == '__main__':`"
        )
    if here.place is Place.SERVING:
        raise ConfigError("a child of isolation='process' runs tasks, and no worker of its own")
