"""Lanes as commands show them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from xqueue_core.cli.output import Table
from xqueue_core.cli.shown.values import ago, iso
from xqueue_core.permits import KeyInfo
from xqueue_core.views import LaneStats, Stats

#: What is counted of a lane: how many there are now.
NOW = ("scheduled", "pending", "parked", "processing", "quarantined")
_ENDED = ("success", "failed", "canceled", "timeout")


def limit_data(info: KeyInfo | None) -> dict[str, Any]:
    """A limit, and who holds how many permits."""
    if info is None:
        return {"limit": None, "pinned": False, "held": 0, "holders": {}, "waiting": 0}
    return {
        "limit": info.limit,
        "pinned": info.pinned,
        "held": len(info.holders),
        "holders": dict(sorted(Counter(info.holders.values()).items())),
        "waiting": len(info.waiters),
    }


def lanes_data(stats: Stats, limits: Mapping[str, KeyInfo]) -> dict[str, Any]:
    """Every lane as JSON types."""
    lanes = [
        {
            "lane": name,
            "paused": lane.paused,
            **limit_data(limits.get(name)),
            **{field: summed(lane, field) for field in (*NOW, *_ENDED)},
            "types": sorted(lane.types),
            "oldest_at": iso(lane.oldest_at),
        }
        for name, lane in sorted(stats.lanes.items())
    ]
    return {"at": iso(stats.at), "lanes": lanes}


def lanes_table(stats: Stats, limits: Mapping[str, KeyInfo]) -> Table:
    """A row for each lane."""
    rows = []
    for name, lane in sorted(stats.lanes.items()):
        limit = limit_data(limits.get(name))
        pinned = " pinned" if limit["pinned"] else ""
        rows.append(
            (
                name,
                "paused" if lane.paused else "open",
                "none" if limit["limit"] is None else f"{limit['limit']}{pinned}",
                limit["held"],
                *(summed(lane, field) for field in NOW),
                ago(None if lane.oldest_at is None else stats.at - lane.oldest_at),
                ", ".join(f"{worker} {n}" for worker, n in limit["holders"].items()),
            )
        )
    return Table(("lane", "is", "limit", "held", *NOW, "oldest", "holders"), rows)


def summed(lane: LaneStats, field: str) -> int:
    """A number of the ledger over all types of a lane."""
    return sum(getattr(row, field) for row in lane.types.values())
