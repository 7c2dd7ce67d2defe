"""How long a task may be submitted again without becoming a second one."""

from __future__ import annotations

from collections.abc import Sequence

from xqueue_core.task import Task

#: Least time after a task's end for which every broker knows its generated id (seconds): twice
#: what a client repeats a put for (P4.1).
LEAST = 60.0


def safe(tasks: Sequence[Task]) -> str:
    """ "safe for ... after ...": an id that was generated is kept no longer than its record is.

    Ids that were given, and those of unique keys, are kept for the dedupe horizon.
    """
    kept = [min(task.result_ttl, task.failure_ttl) for task in tasks if not task.remember]
    time = f"{max(LEAST, min(kept)):g} s" if kept else "the broker's dedupe_horizon"
    return f"safe for {time} after {'its' if len(tasks) == 1 else 'their'} end"
