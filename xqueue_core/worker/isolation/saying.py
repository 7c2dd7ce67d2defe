"""Log lines that never raise: a log handler's fault must not keep a task from its end."""

from __future__ import annotations

import logging

logger = logging.getLogger("xqueue.worker")


def say(level: int, text: str, *values: object, error: BaseException | None = None) -> None:
    """Log it, with the traceback if there is an error. Raises nothing."""
    try:
        logger.log(level, text, *values, exc_info=error)
    except BaseException:  # noqa: BLE001 - whatever a log handler raises, or a value's repr
        return
