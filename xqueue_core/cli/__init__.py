"""The command line. ``xqueue --help`` imports click and nothing else.

Exit codes: :mod:`xqueue_core.cli.exits`.
"""

from __future__ import annotations

import sys


def main() -> None:
    """The ``xqueue`` command."""
    from xqueue_core.cli.group import xqueue

    sys.exit(xqueue.main(prog_name="xqueue", standalone_mode=True))
