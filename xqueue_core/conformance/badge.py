"""The badge of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from xqueue_core.conformance.report import Report

_LABEL = "xqueue conformance"


def badge_data(report: Report) -> dict[str, object]:
    """What shields.io calls an endpoint: served as JSON somewhere, it makes a badge."""
    return {
        "schemaVersion": 1,
        "label": _LABEL,
        "message": _message(report),
        "color": "brightgreen" if report.ok else "yellow" if report.partial else "red",
    }


def badge_line(report: Report) -> str:
    """The badge as a line of Markdown."""
    data = badge_data(report)
    parts = (_LABEL, str(data["message"]), str(data["color"]))
    path = "-".join(quote(part.replace("-", "--").replace("_", "__"), safe="") for part in parts)
    return f"![{_LABEL}: {data['message']}](https://img.shields.io/badge/{path})"


def _message(report: Report) -> str:
    passed = sum(one.passed for one in report.results.values())
    return f"{report.backend} {passed} of {len(report.chosen)} passed"
