"""What one worker needs to know, worked out from the app's settings."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from xqueue_core.client.options import alternatives
from xqueue_core.errors import ConfigError

if TYPE_CHECKING:
    from xqueue_core.settings import Settings

#: How long a worker that ends when nothing is left waits for more (seconds).
BURST_WAIT = 0.1


@dataclass(slots=True, frozen=True)
class WorkerOptions:
    """Times in seconds. ``recycle`` is for a worker that owns its process: when code outlives
    its time-out by ``grace`` and cannot be stopped, the worker ends so that it can be replaced.
    With ``min_concurrency`` the slots follow the load, from there up to ``concurrency``.
    """

    concurrency: int = 100
    min_concurrency: int | None = None
    prefetch: int = 25
    threads: int = 32
    children: int = 1
    tasks_per_child: int = 1
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
    def slots(self) -> int:
        """Slots at the start."""
        return self.concurrency if self.min_concurrency is None else self.min_concurrency

    def ahead(self, slots: int) -> int:
        """How many tasks are fetched beyond so many slots: ``prefetch`` is for all of them."""
        return -(-self.prefetch * slots // self.concurrency)

    @property
    def margin(self) -> float:
        """Nothing starts in the last part of a lease, which is this long."""
        return self.lease / 5

    @property
    def patience(self) -> float:
        """Longest wait for a call's answer that must not cost the whole lease."""
        return max(self.margin, self.heartbeat)

    @classmethod
    def of(cls, settings: Settings, **overrides: Any) -> WorkerOptions:
        """From settings; ``overrides`` that are not None replace single fields.

        Numbers keep the rules of the settings, and what was not said follows those that count:
        the heartbeat the lease, what is fetched ahead the slots. Raises ConfigError.
        """
        given = {name: value for name, value in overrides.items() if value is not None}
        for name, value in given.items():
            _check(name, value)
        settings = _with(settings, {name: given.pop(name) for name in _NUMBERS if name in given})
        options = cls(
            concurrency=settings.concurrency,
            min_concurrency=settings.min_concurrency,
            prefetch=settings.prefetch_slots,
            threads=settings.threads,
            children=settings.child_processes,
            tasks_per_child=settings.tasks_per_child,
            grace=settings.grace,
            lease=settings.lease,
            heartbeat=settings.heartbeat_interval,
            lease_wait=settings.lease_wait,
            lanes=settings.lanes,
            types=settings.types,
            max_result=settings.max_payload,
        )
        if given.get("burst"):
            # An answer that there is nothing is what it waits for.
            given["lease_wait"] = min(BURST_WAIT, options.lease_wait)
        return checked(replace(options, **given))


#: What :class:`WorkerOptions` counts, and what it measures in seconds.
_COUNTS = (
    *("concurrency", "min_concurrency", "prefetch", "threads", "children", "tasks_per_child"),
    "max_result",
)
_SECONDS = ("grace", "lease", "heartbeat", "lease_wait")
_NUMBERS = _COUNTS + _SECONDS
#: The options that have another name among the settings.
_SETTINGS = {"max_result": "max_payload"}
_RANGE = re.compile(r"(\d+)-(\d+)")


def _check(name: str, value: object) -> None:
    """Raise ConfigError if a worker has no such option, or its value is of another kind."""
    if name not in WorkerOptions.__dataclass_fields__:
        known = set(WorkerOptions.__dataclass_fields__)
        raise ConfigError(f"a worker has no option {alternatives(name, known)}")
    if name in _COUNTS and type(value) is not int:
        found = _RANGE.fullmatch(value) if isinstance(value, str) else None
        hint = (
            "" if found is None else f": write min_concurrency={found[1]}, concurrency={found[2]}"
        )
        raise ConfigError(f"a worker's {name} is a whole number, not {value!r}{hint}")
    if name in _SECONDS and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise ConfigError(f"a worker's {name} is a number of seconds, not {value!r}")
    if name in ("lanes", "types") and isinstance(value, str):
        raise ConfigError(f"a worker's {name} are a list of names: write {name}=[{value!r}]")


def _with(settings: Settings, numbers: dict[str, Any]) -> Settings:
    """The settings with these options in place of what they say. Raises ConfigError."""
    if not numbers:
        return settings
    # Pydantic, which ``import xqueue_core`` does without, has been loaded by whoever made them.
    from xqueue_core.settings.loading import with_values

    values = {_SETTINGS.get(name, name): value for name, value in numbers.items()}
    return with_values(settings, values, {_SETTINGS[n]: n for n in numbers if n in _SETTINGS})


def checked(options: WorkerOptions) -> WorkerOptions:
    """The options. Raises ConfigError where they contradict each other."""
    least, most = options.min_concurrency, options.concurrency
    if most < 1 or (least is not None and not 1 <= least <= most):
        raise ConfigError(
            f"concurrency {most} with min_concurrency {least}: wanted are 1 <= min_concurrency "
            "<= concurrency"
        )
    return options
