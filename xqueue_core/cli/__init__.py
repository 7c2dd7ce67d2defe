"""The command line. ``xqueue --help`` imports click and nothing else.

Exit codes: 0 done, 1 an error, 2 wrong usage or configuration, 75 a worker process that must be
replaced (its supervisor does so).
"""

from __future__ import annotations

import sys


def main() -> None:
    """The ``xqueue`` command."""
    from xqueue_core.cli.group import xqueue

    sys.exit(xqueue.main(prog_name="xqueue", standalone_mode=True))
