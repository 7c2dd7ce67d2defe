"""The engine: a plain async object that leases, hands over, settles and keeps the lease.

It knows no threads. What runs handlers is behind the :class:`~.crossing.Crossing`; whether that
is another thread, the same loop or a simulation is not seen from here.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from xqueue_core.calls import BeatReply, Delivery, Hold, Leased, Settled
from xqueue_core.task import AnyOutcome, HandBack, Parked
from xqueue_core.worker.crossing import Crossing, Outward
from xqueue_core.worker.desk import Desk
from xqueue_core.worker.fetcher import Asked, Fetcher
from xqueue_core.worker.job import Job, Recall, Stage, Tell, Told
from xqueue_core.worker.keeper import Keeper, Person
from xqueue_core.worker.keys import Keys
from xqueue_core.worker.limiter import Limiter
from xqueue_core.worker.lines import Lines
from xqueue_core.worker.options import WorkerOptions
from xqueue_core.worker.outcomes import of_unstarted, unable
from xqueue_core.worker.permits import PermitDesk
from xqueue_core.worker.progress import Publisher
from xqueue_core.worker.renewal import Renewal
from xqueue_core.worker.settler import Settler
from xqueue_core.worker.solitary import Solitary
from xqueue_core.worker.tools import Term, Tools
from xqueue_core.worker.watchman import Watchman

if TYPE_CHECKING:
    from xqueue_core.abc import Faces
    from xqueue_core.handlers import HandlerSpec

logger = logging.getLogger("xqueue.worker")


class Engine:
    """Everything a worker does but running handlers, on one event loop.

    Args:
        faces: the broker's, and ``pulse`` those of the heartbeat's own connection.
        specs: the types served, by name.
        lanes: the lanes served.
    """

    def __init__(
        self,
        worker: str,
        faces: Faces,
        pulse: Faces,
        specs: Mapping[str, HandlerSpec],
        lanes: Sequence[str],
        crossing: Crossing,
        options: WorkerOptions,
        tools: Tools,
        term: Term,
    ) -> None:
        self.worker = worker
        self.faces = faces
        self.lanes = list(lanes)
        self.options = options
        self.tools = tools
        self.term = term
        self.specs = specs
        self.send = crossing.inward.send
        self.barren = False  # nothing was found in the lanes that are not paused
        self.stopping = asyncio.Event()  # an order to stop, or a hopeless thread
        self.hopeless = False
        self.changed = asyncio.Event()
        self.desk = Desk(options.concurrency, options.prefetch, options.threads)
        most = 2 * (options.concurrency + options.prefetch)
        self.settler = Settler(faces.queue, tools, self._settled, max(most, 1000))
        self.watchman = Watchman(self.desk, options, tools.clock)
        self.publisher = Publisher(faces.notifier)
        self.permits = PermitDesk(faces.semaphore, worker, options, tools)
        self.keys = Keys(faces.semaphore, self.permits, options, tools, self._start, self.finish)
        self.solitary = Solitary(self.desk, options.grace, tools.clock, self._enter, self.finish)
        self.lines = Lines(faces.queue, faces.semaphore, self.lanes, tools)
        self.limiter = Limiter(
            faces.semaphore, self.permits, self.desk, self._limits(), options, tools, self._poke
        )
        self.renewal = Renewal(
            faces.semaphore, self.permits, self.limiter, self.desk, crossing.inward.send
        )
        self.keeper = self._keeper(pulse, term)
        self.fetcher = self._fetcher()
        crossing.outward.connect(self._returned)

    def _keeper(self, pulse: Faces, term: Term) -> Keeper:
        return Keeper(
            pulse.queue,
            Person(self.worker, self.lanes, sorted(self.specs)),
            self.desk,
            term,
            self.options,
            self.tools,
            lambda: self.fetcher.answered,
            self._overdue,
            self._told,
            self._poke,
        )

    def _fetcher(self) -> Fetcher:
        return Fetcher(
            self.faces.queue,
            self.worker,
            self._threaded(),
            self.desk,
            self.limiter,
            self.options,
            self.tools,
            self._arrived,
            self.keeper.register,
            self._brake,
        )

    def _limits(self) -> dict[str, int | None]:
        limits: dict[str, int | None] = dict.fromkeys(self.lanes)
        for spec in self.specs.values():
            if spec.max_concurrency is not None:
                limits[spec.lane] = spec.max_concurrency
        return limits

    def _threaded(self) -> dict[str, bool]:
        """Each lane, and whether all its handlers are plain functions."""
        kinds: dict[str, set[bool]] = {lane: set() for lane in self.lanes}
        for spec in self.specs.values():
            kinds[spec.lane].add(spec.is_async)
        return {lane: kind == {False} for lane, kind in kinds.items()}

    # -- what leases bring ---------------------------------------------------------------------

    def _arrived(self, asked: Asked, leased: Leased) -> None:
        per_lane: dict[str, int] = {}
        for delivery in leased.deliveries:
            lane = delivery.task.lane
            per_lane[lane] = per_lane.get(lane, 0) + 1
            self._take(delivery)
        full = len(leased.deliveries) >= asked.limit
        for want in asked.wants:
            if self.limiter.limited(want.lane):
                self.limiter.leased(want.lane, want.limit, per_lane.get(want.lane, 0), full)
        self.limiter.trim()
        self.solitary.look()
        if leased.ready:
            self.limiter.ready(leased.ready)
        found = bool(leased.deliveries or leased.ready)
        wanted = {want.lane for want in asked.wants}
        self._bare(not found and self.fetcher.paused.union(wanted).issuperset(self.lanes))
        if found:
            self.changed.set()

    def _bare(self, barren: bool) -> None:
        self.barren = barren
        if barren:
            self.changed.set()

    def _take(self, delivery: Delivery) -> None:
        task = delivery.task
        spec = self.specs.get(task.type)
        refusal = unable(task, spec)
        if spec is None or refusal is not None:
            spec = spec or next(iter(self.specs.values()))
            job = Job(delivery, spec)
            self.desk.take(job)
            self.finish(job, refusal or HandBack(unable="type"))
            return
        job = Job(delivery, spec)
        self.desk.take(job)
        if self.stopping.is_set() or self.fetcher.quiet or task.lane in self.fetcher.paused:
            self.finish(job, HandBack(reason="stop"))
        elif self.solitary.busy:
            self.finish(job, HandBack(reason="alone"))
        elif self.limiter.limited(task.lane) and not self.limiter.take(job):
            self.finish(job, HandBack(reason="no permit"))
        elif job.alone:
            self.recall("alone")
            job.stage = Stage.ASKING
            self.solitary.admit(job)
        else:
            self._enter(job)

    def _enter(self, job: Job) -> None:
        """Let it through to the handlers, by way of its key's permit if it has a key."""
        if job.delivery.task.key is not None:
            job.stage = Stage.ASKING
            self.keys.admit(job)
        else:
            self._start(job)

    def _start(self, job: Job) -> None:
        job.stage = Stage.CROSSED
        self.send(job)

    # -- what handlers bring ---------------------------------------------------------------------

    def _returned(self, batch: list[Outward]) -> None:
        for item in batch:
            if isinstance(item, Job):
                self.finish(item, item.outcome)
            else:
                self.publisher.add(item)
        self.changed.set()
        self.solitary.look()
        self._poke()

    def finish(self, job: Job, outcome: AnyOutcome | None) -> None:
        """A job has left its slot: settle it, and let its permits serve others."""
        if job.stage is Stage.ENDED:
            return  # given up at the end of a drain
        job.stage = Stage.ENDED
        job.lost = job.lost or outcome is None
        self.desk.leave(job)
        self.solitary.ended(job)
        if job.permit is not None:
            self.limiter.freed(job)
        if job.key_permit is not None:
            self.keys.freed(job)
        if outcome is not None and not job.lost:
            self.settler.add(job, outcome)
        else:
            # No settlement will tell that there is room again.
            self.changed.set()
            self._poke()

    def _settled(self, job: Job, outcome: AnyOutcome, verdict: Settled) -> None:
        self.desk.settling.discard(job)
        if verdict is Settled.LOST:
            logger.info("%s: delivery %d is not current any more", job.id, job.delivery.token)
        elif type(outcome) is Parked:
            self.lines.parked(job.lane, job.delivery.task.key or "")
        if not self.desk.settling:
            self.changed.set()
            self.solitary.look()
            self._poke()

    # -- what heartbeats bring -------------------------------------------------------------------

    def _told(self, jobs: Sequence[Job], reply: BeatReply) -> None:
        for job, hold in zip(jobs, reply.held, strict=True):
            if hold is not Hold.KEPT and job.stage is not Stage.ENDED:
                self._tell(job, Told.CANCEL if hold is Hold.CANCELED else Told.LOST)
        paused = frozenset(reply.paused)
        for lane in paused:
            self.send(Recall("paused", lane=lane))
            self._withdraw("paused", lane)
        if paused != self.fetcher.paused:
            self.fetcher.paused = paused
            self._bare(paused.issuperset(self.lanes))
            self._poke()
        if reply.quiet != self.fetcher.quiet:
            logger.info("ordered to %s", "be quiet" if reply.quiet else "fetch again")
            self.fetcher.quiet = reply.quiet
            if reply.quiet:
                self.recall("quiet")
            self._poke()
        if reply.stop and not self.stopping.is_set():
            logger.info("ordered to stop")
            self.stopping.set()
        self.solitary.look()

    def _tell(self, job: Job, why: Told) -> None:
        if why is Told.LOST:
            job.lost = True
        elif job.canceled:
            return
        else:
            job.canceled = True
        if job.stage is Stage.ASKING:
            if self.keys.withdraw(job) or self.solitary.withdraw(job):
                self.finish(job, of_unstarted(why))
        else:
            self.send(Tell(job, why))

    def recall(self, reason: str) -> None:
        """Hand back whatever has not started."""
        self.send(Recall(reason))
        self._withdraw(reason, None)

    def _withdraw(self, reason: str, lane: str | None) -> None:
        for job in [job for job in self.desk.active if job.stage is Stage.ASKING]:
            here = lane in (None, job.lane)
            if here and (self.keys.withdraw(job) or self.solitary.withdraw(job)):
                self.finish(job, HandBack(reason=reason))

    def _overdue(self) -> list[str]:
        late = [job.id for job in self.watchman.overdue()]
        if late and self.options.recycle and not self.hopeless and self.watchman.hopeless():
            logger.error("code that cannot be stopped runs on: this process must be replaced")
            self.hopeless = True
            self.stopping.set()
        return late

    def _brake(self) -> bool:
        """True while nothing is to come: it could not be settled, or not be started."""
        return self.settler.full or not self.term.fresh(self.tools.clock())

    def _poke(self) -> None:
        self.fetcher.poke()
