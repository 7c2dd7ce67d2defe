"""The command line. ``xqueue --help`` imports click and nothing else.

Exit codes: :mod:`xqueue_core.cli.exits`.
"""

from __future__ import annotations

import os
import sys


def main() -> None:
    """The ``xqueue`` command."""
    from xqueue_core.cli.group import xqueue

    if "_XQUEUE_COMPLETE" in os.environ:
        _complete()
    sys.exit(xqueue.main(prog_name="xqueue", standalone_mode=True))


def _complete() -> None:
    """Answer a shell, and end at once, whatever the threads of a broker still wait for."""
    from xqueue_core.cli.group import xqueue

    code: object = 0
    try:
        xqueue.main(prog_name="xqueue", standalone_mode=True)
    except SystemExit as end:
        code = end.code
    # A shell that completes has no use for a traceback.
    except Exception:  # noqa: BLE001
        code = 1
    sys.stdout.flush()
    os._exit(code if isinstance(code, int) else 1)
