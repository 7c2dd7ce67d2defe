"""Recurring schedules as commands show them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from xqueue_core.cli.output import Table
from xqueue_core.cli.shown.values import iso
from xqueue_core.errors import ConfigError
from xqueue_core.recurring.rules import parse
from xqueue_core.views import Schedule


def schedule_data(one: Schedule, at: float) -> dict[str, Any]:
    """A schedule as JSON types; ``at`` is the broker's clock (UTC seconds)."""
    type_, _, rule = one.rule.partition(" ")
    return {
        "name": one.name,
        "type": type_ or None,
        "rule": rule or None,
        "version": one.version,
        "last_at": iso(one.last if one.fired is None else one.fired),
        "next_at": _next(rule, at),
        "seen_at": iso(one.seen),
    }


def schedules_table(schedules: Iterable[dict[str, Any]]) -> Table:
    """A row for each schedule."""
    names = ("name", "type", "rule", "version", "last", "next", "seen")
    rows = [tuple(one.get(name, one.get(f"{name}_at")) for name in names) for one in schedules]
    return Table(names, rows)


def _next(rule: str, at: float) -> str | None:
    try:
        slot = parse(rule).next(at)
    except ConfigError:  # a newer version wrote it, in words that this one cannot read
        return None
    return iso(slot) if math.isfinite(slot) else None
