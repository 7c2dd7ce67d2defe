"""What one worker needs to know, worked out from the app's settings."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xqueue_core.settings import Settings

#: How long a worker that ends when nothing is left waits for more (seconds).
BURST_WAIT = 0.1


@dataclass(slots=True, frozen=True)
class WorkerOptions:
    """Times in seconds. ``recycle`` is for a worker that owns its process: when code outlives
    its time-out by ``grace`` and cannot be stopped, the worker ends so that it can be replaced.
    """

    concurrency: int = 100
    prefetch: int = 25
    threads: int = 32
    grace: float = 30.0
    lease: float = 15.0
    heartbeat: float = 1.0
    lease_wait: float = 5.0
    lanes: tuple[str, ...] | None = None
    types: tuple[str, ...] | None = None
    max_result: int = 512 * 1024
    burst: bool = False
    recycle: bool = False

    @property
    def margin(self) -> float:
        """Nothing starts in the last part of a lease, which is this long."""
        return self.lease / 5

    @classmethod
    def of(cls, settings: Settings, **overrides: Any) -> WorkerOptions:
        """From settings; ``overrides`` that are not None replace single fields."""
        options = cls(
            concurrency=settings.concurrency,
            prefetch=settings.prefetch_slots,
            threads=settings.threads,
            grace=settings.grace,
            lease=settings.lease,
            heartbeat=settings.heartbeat_interval,
            lease_wait=settings.lease_wait,
            lanes=settings.lanes,
            types=settings.types,
            max_result=settings.max_payload,
        )
        given = {name: value for name, value in overrides.items() if value is not None}
        if given.get("burst"):
            # An answer that there is nothing is what it waits for.
            given["lease_wait"] = min(BURST_WAIT, options.lease_wait)
        return replace(options, **given)
