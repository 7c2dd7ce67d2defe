"""The metrics themselves, in a registry of their own."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from xqueue_core.calls import Accepted
from xqueue_core.hooks import (
    Ended,
    Hooks,
    Running,
    Site,
    Submitting,
    WorkerEvent,
    WorkerLeased,
    WorkerStarted,
    WorkerStatus,
    WorkerStopped,
)
from xqueue_prometheus.depth import Depth

#: Stands for every type and lane that the app does not declare: labels must not grow for ever.
OTHER = "other"


class Metrics:
    """What is counted in one process for one app.

    Args:
        buckets: upper bounds of the histograms' buckets (seconds).
    """

    def __init__(self, buckets: Sequence[float]) -> None:
        self.registry = CollectorRegistry()
        self.submits = Counter(
            "xqueue_submits",
            "Submits by type and answer: new, duplicate, undecided or error",
            ["type", "answer"],
            registry=self.registry,
        )
        self.starts = Counter(
            "xqueue_starts", "Attempts that began", ["type"], registry=self.registry
        )
        self.outcomes = Counter(
            "xqueue_outcomes",
            "Deliveries that ended, by how they ended",
            ["type", "outcome"],
            registry=self.registry,
        )
        self.run = Histogram(
            "xqueue_run_seconds",
            "How long handlers ran",
            ["type"],
            registry=self.registry,
            buckets=buckets,
        )
        self.queue = Histogram(
            "xqueue_queue_seconds",
            "How long tasks waited from when they were due until they began",
            ["type"],
            registry=self.registry,
            buckets=buckets,
        )
        self.leased = Counter(
            "xqueue_leased", "Deliveries that came, by lane", ["lane"], registry=self.registry
        )
        self.workers = Workers()
        self.registry.register(self.workers)


class Workers(Collector):
    """What is worked out when somebody looks: never a label with an id in it."""

    def __init__(self) -> None:
        self.status: dict[str, WorkerStatus | None] = {}  # by worker
        self.lanes: dict[str, Collection[str]] = {}  # that each serves
        self.depths: dict[str, Depth] = {}  # by worker
        self.failures: Callable[[], Mapping[tuple[str, str], int]] = dict

    def served(self) -> set[str]:
        """The lanes that workers here serve."""
        return {lane for lanes in list(self.lanes.values()) for lane in lanes}

    def collect(self) -> Iterator[Any]:
        """For the registry."""
        yield from self._slots([one for one in list(self.status.values()) if one is not None])
        errors = CounterMetricFamily(
            "xqueue_plugin_errors", "Hooks of plugins that raised", labels=["plugin", "hook"]
        )
        for (plugin, hook), times in self.failures().items():
            errors.add_metric([plugin, hook], times)
        yield errors
        depth = next(iter(list(self.depths.values())), None)
        if depth is not None:
            yield from depth.families(self.served(), OTHER)

    def _slots(self, found: Sequence[WorkerStatus]) -> Iterator[Any]:
        for name, help, value in (
            ("xqueue_workers", "Workers in this process", len(self.status)),
            ("xqueue_slots", "Handlers that may run at once", sum(one.slots for one in found)),
            ("xqueue_slots_used", "Handlers that run", sum(one.running for one in found)),
            ("xqueue_waiting", "Fetched and not started", sum(one.waiting for one in found)),
            ("xqueue_settling", "Outcomes not recorded yet", sum(one.settling for one in found)),
        ):
            yield GaugeMetricFamily(name, help, value=value)
        permits: dict[str, int] = {}
        for one in found:
            for lane, count in one.permits.items():
                permits[lane] = permits.get(lane, 0) + count
        family = GaugeMetricFamily("xqueue_permits", "Permits of lanes in use", labels=["lane"])
        for lane, count in permits.items():
            family.add_metric([lane], count)
        yield family


class PrometheusHooks(Hooks):
    """Counts. All of it is safe from any thread."""

    def __init__(self, metrics: Metrics, site: Site) -> None:
        self._metrics = metrics
        self._types = site.types

    def _type(self, name: str) -> str:
        return name if name in self._types() else OTHER

    def submit(self, batch: Sequence[Submitting]) -> Submitted:
        """Count the answers, once they are there."""
        return Submitted(self._metrics.submits, [(self._type(o.task.type), o) for o in batch])

    def run(self, run: Running) -> None:
        """An attempt begins."""
        self._metrics.starts.labels(self._type(run.type)).inc()

    def ended(self, end: Ended) -> None:
        """A delivery has ended."""
        type_ = self._type(end.type)
        self._metrics.outcomes.labels(type_, end.how.value).inc()
        if end.started and end.ran:  # of one that is lost nobody may know
            self._metrics.run.labels(type_).observe(end.ran)
            self._metrics.queue.labels(type_).observe(end.queued)

    def worker(self, event: WorkerEvent) -> None:
        """Keep the latest status of each worker that lives."""
        workers = self._metrics.workers
        if isinstance(event, WorkerStatus):
            workers.status[event.worker] = event
        elif isinstance(event, WorkerLeased):
            for lane, count in event.taken.items():
                self._metrics.leased.labels(lane).inc(count)
        elif isinstance(event, WorkerStarted):
            workers.status[event.worker] = None
            workers.lanes[event.worker] = event.lanes
        elif isinstance(event, WorkerStopped):
            workers.status.pop(event.worker, None)
            workers.lanes.pop(event.worker, None)


class Submitted:
    """A batch under way."""

    __slots__ = ("_batch", "_counter")

    def __init__(self, counter: Counter, batch: Sequence[tuple[str, Submitting]]) -> None:
        self._counter = counter
        self._batch = batch

    def __enter__(self) -> None:
        """Nothing is known yet."""

    def __exit__(self, *_: object) -> None:
        """Each has its answer."""
        for type_, one in self._batch:
            answer = one.answer.put.value if isinstance(one.answer, Accepted) else "error"
            self._counter.labels(type_, answer.lower()).inc()
