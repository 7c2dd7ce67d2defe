"""The ledger as commands show it."""

from __future__ import annotations

from typing import Any

from xqueue_core.cli.output import Part, Table
from xqueue_core.cli.shown.values import iso
from xqueue_core.views import Stats, TypeStats

_NOW = ("scheduled", "pending", "parked", "processing", "quarantined")
_EVER = ("success", "failed", "canceled", "timeout", "accepted", "duplicates", "replayed")


def numbers(row: TypeStats) -> dict[str, int]:
    """Every number of a ledger, by name."""
    return {name: getattr(row, name) for name in TypeStats.__struct_fields__}


def stats_data(stats: Stats) -> dict[str, Any]:
    """The ledger as JSON types."""
    total = stats.total()
    return {
        "at": iso(stats.at),
        "lanes": {
            name: {
                "paused": lane.paused,
                "oldest_at": iso(lane.oldest_at),
                "types": {type_: numbers(row) for type_, row in sorted(lane.types.items())},
            }
            for name, lane in sorted(stats.lanes.items())
        },
        "total": numbers(total),
        "conserved": total.conserved,
    }


def stats_parts(stats: Stats) -> list[Part]:
    """The ledger for people: a row for each type in each lane, and the sums."""
    rows = [
        (name, type_, *(getattr(row, field) for field in (*_NOW, *_EVER)))
        for name, lane in sorted(stats.lanes.items())
        for type_, row in sorted(lane.types.items())
    ]
    total = stats.total()
    rows.append(("total", "", *(getattr(total, field) for field in (*_NOW, *_EVER))))
    return [Table(("lane", "type", *_NOW, *_EVER), rows)]
