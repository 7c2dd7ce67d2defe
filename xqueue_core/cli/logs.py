"""Logging of the command line: the library itself never configures any."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime

from xqueue_core.cli.output import printable


class JsonLines(logging.Formatter):
    """A record as one line of JSON: at, level, logger, process, message, and the traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        trace = self.formatException(record.exc_info) if record.exc_info else None
        return json.dumps(
            {
                "at": at.replace("+00:00", "Z"),
                "level": record.levelname.lower(),
                "logger": record.name,
                "process": record.process,
                "message": record.getMessage(),
                "traceback": trace,
            }
        )


class Lines(logging.Formatter):
    """A record as text for a terminal, which nothing in it can make look like another record.

    Messages hold what handlers raise: control characters are shown as escapes, and every line
    after the first, as of a traceback, is indented.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The lines."""
        return "\n  ".join(printable(line) for line in super().format(record).split("\n"))


def configure_logging(level: str, as_json: bool | None = None) -> None:
    """Log to standard error, from this level on.

    Args:
        level: its name.
        as_json: JSON lines instead of text; None does as this process's command line says, which
            the children of a worker have from it.
    """
    handler = logging.StreamHandler(sys.stderr)
    text = "%(asctime)s %(process)d %(levelname)-7s %(name)s: %(message)s"
    wanted = "--json" in sys.argv if as_json is None else as_json
    handler.setFormatter(JsonLines() if wanted else Lines(text))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
