"""The peers: which programs there are, in which language, and how many tasks each gets.

Each folder here has one program and the file that pins what it needs. The counts make a drain last
15 seconds or have 200,000 tasks, whichever is less work, on two cores of 2026.
"""

from __future__ import annotations

from dataclasses import dataclass

FAST = 200_000


@dataclass(frozen=True, slots=True)
class Peer:
    """One product with one set of settings."""

    name: str
    folder: str
    count: int  # tasks of a full run
    variant: str = ""
    language: str = "python"  # or "node", "go"


PEERS = (
    Peer("streaq", "streaq", 40_000),
    Peer("taskiq", "taskiq", 80_000),
    Peer("taskiq-results", "taskiq", 40_000, "results"),
    Peer("saq", "saq", 40_000),
    Peer("arq", "arq", 20_000),
    Peer("dramatiq-8", "dramatiq", 60_000, "8"),
    Peer("dramatiq-100", "dramatiq", 60_000, "100"),
    Peer("huey-8", "huey", 60_000, "8"),
    Peer("huey-100", "huey", 60_000, "100"),
    Peer("celery-threads", "celery", 20_000, "threads"),
    Peer("celery-solo", "celery", 20_000, "solo"),
    Peer("repid", "repid", FAST),
    Peer("rq", "rq", 12_000),
    Peer("pydocket", "pydocket", 30_000),
    Peer("bullmq", "bullmq", FAST, language="node"),
    Peer("asynq", "asynq", FAST, language="go"),
)
