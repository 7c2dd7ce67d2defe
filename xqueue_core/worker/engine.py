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
from xqueue_core.worker import report
from xqueue_core.worker.crossing import Crossing, Outward
from xqueue_core.worker.desk import Desk
from xqueue_core.worker.fetcher import Asked, Fetcher
from xqueue_core.worker.gate import Gate
from xqueue_core.worker.job import Job, Recall, Resize, Stage, Tell, Told
from xqueue_core.worker.keeper import Keeper, Person
from xqueue_core.worker.keys import Keys
from xqueue_core.worker.lane import declared, kinds_of
from xqueue_core.worker.limiter import Limiter
from xqueue_core.worker.lines import Lines
from xqueue_core.worker.options import WorkerOptions
from xqueue_core.worker.outcomes import of_unstarted, unable
from xqueue_core.worker.pauses import Pauses
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

    _full = False  # too many outcomes waited when the fetcher last looked

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
        self.more = False  # the last call brought all that there was room for
        self.fixed = False  # the number of slots was set by hand
        self.stopping = asyncio.Event()  # an order to stop, or a hopeless thread
        self.hopeless = False
        self.ordered = False  # an operator ordered it to stop
        self.changed = asyncio.Event()
        slots = options.slots
        self.desk = Desk(slots, options.ahead(slots), options.threads, options.children)
        most = 2 * (options.concurrency + options.prefetch)
        self.settler = Settler(faces.queue, tools, self._settled, max(most, 1000))
        self.watchman = Watchman(self.desk, options, tools.clock)
        self.publisher = Publisher(faces.notifier)
        self.permits = PermitDesk(faces.semaphore, worker, options, tools)
        self.keys = Keys(faces.semaphore, self.permits, options, tools, self._start, self.finish)
        self.solitary = self._solitary()
        self.lines = Lines(faces.queue, faces.semaphore, self.lanes, tools)
        self.permits.unhurried = self.lines.unhurried
        self.kinds = kinds_of(self.lanes, self.specs.values())
        self.limiter = self._limiter()
        self.gate = Gate(self.desk, tools.clock, self.limiter.waiting, self.keys.admit, self._start)
        self.renewal = Renewal(
            faces.semaphore,
            self.permits,
            self.limiter,
            self.keys,
            self.desk,
            options,
            self._recall_one,
            self.gate.overdue,
        )
        self.keeper = self._keeper(pulse, term)
        self.fetcher = self._fetcher()
        self.pauses = Pauses(self)
        crossing.outward.connect(self._returned)

    def _solitary(self) -> Solitary:
        return Solitary(
            self.desk,
            self.options.grace,
            self.tools.clock,
            lambda job: self.gate.admit(job),
            self._start,
            self.finish,
            lambda: self.keeper.soon(),
            lambda: len(self.desk.settling) == len(self.settler.spent),
        )

    def _limiter(self) -> Limiter:
        return Limiter(
            self.faces.semaphore,
            self.permits,
            self.desk,
            declared(self.lanes, self.specs.values()),
            self.kinds,
            self.options,
            self.tools,
            self._poke,
            self._admit,
            self.finish,
            self._resting,
            lambda: self._resting() or self.fetcher.failing or self._brake(),
            self.faces.view,
        )

    def _keeper(self, pulse: Faces, term: Term) -> Keeper:
        return Keeper(
            pulse.queue,
            Person(self.worker, self.lanes, sorted(self.specs)),
            self.desk,
            term,
            self.options,
            self.tools,
            lambda: self.fetcher.answered,
            lambda: self.limiter.counted,
            self._overdue,
            self.stopping.is_set,
            self._told,
            self._poke,
            self.solitary.acknowledged,
        )

    def _fetcher(self) -> Fetcher:
        return Fetcher(
            self.faces.queue,
            self.worker,
            self.kinds,
            self.desk,
            self.limiter,
            self.options,
            self.tools,
            self._arrived,
            self.keeper.register,
            self._brake,
            lambda: self.term.spell,
        )

    def _resting(self) -> bool:
        return self.fetcher.resting or self.desk.solitary

    # -- what leases bring ---------------------------------------------------------------------

    def _arrived(self, asked: Asked, leased: Leased) -> None:
        per_lane: dict[str, int] = {}
        for delivery in leased.deliveries:
            lane = delivery.task.lane
            per_lane[lane] = per_lane.get(lane, 0) + 1
            self._take(delivery)
        full = len(leased.deliveries) >= asked.limit
        if asked.limit:
            self.more = full and asked.whole
        for want in asked.wants:
            if self.limiter.limited(want.lane):
                self.limiter.leased(want.lane, want.limit, per_lane.get(want.lane, 0), full)
        self.limiter.trim()
        self.solitary.look()
        if leased.ready:
            self.limiter.ready(leased.ready)
        found = bool(leased.deliveries or leased.ready)
        wanted = {want.lane for want in asked.wants}
        if not asked.wants:
            self.limiter.look()  # calls may have failed until now
        self.bare(not found and self.fetcher.paused.union(wanted).issuperset(self.lanes))
        if found:
            self.changed.set()

    def resize(self, slots: int) -> None:
        """Have so many slots from now on; what runs or waits in those taken away runs on."""
        self.desk.slots, self.desk.prefetch = slots, self.options.ahead(slots)
        self.send(Resize(slots))
        self.limiter.trim()
        self._poke()

    def fix(self, slots: int) -> None:
        """Have so many slots, whatever the load."""
        self.fixed = True
        self.resize(slots)

    def bare(self, barren: bool) -> None:
        """There is nothing to be had, or there may be."""
        self.barren = barren and not self.pauses.blocked
        if self.barren:
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
        elif not self.limiter.limited(task.lane) or self.limiter.take(job):
            self._admit(job)
        elif not self.limiter.keep(job):
            self.finish(job, HandBack(reason="no permit"))

    def _admit(self, job: Job) -> None:
        """It has a permit of its lane, if it needs one."""
        if not job.alone:
            self.gate.admit(job)
        elif self.solitary.busy:
            self.finish(job, HandBack(reason="alone"))
        else:
            self.recall("alone")
            job.stage = Stage.ASKING
            self.solitary.admit(job)
            self.limiter.look()

    def _start(self, job: Job) -> None:
        if job.waits:
            self.solitary.ready(job)
            return
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
        """A job has ended: settle it, and let its slot and its permits serve others."""
        if job.stage is Stage.ENDED:
            return  # given up at the end of a drain
        job.stage = Stage.ENDED
        self.free(job)
        self.left(job, outcome)

    def free(self, job: Job) -> None:
        """Its permits serve the next, or go back."""
        if job.permit is not None:
            self.limiter.freed(job)
        if job.key_permit is not None:
            self.keys.freed(job)

    @property
    def why(self) -> str:
        """Why tasks are handed back at the end."""
        return "recycle" if self.hopeless else "stop"

    def left(self, job: Job, outcome: AnyOutcome | None) -> None:
        """It is not here any more: settle it, unless it is lost."""
        if self.hopeless and type(outcome) is HandBack and outcome.reason == "stop":
            outcome = HandBack(ran=outcome.ran, reason=self.why)  # its handlers' side cannot know
        job.lost = job.lost or outcome is None
        self.desk.leave(job)
        self.solitary.ended(job)
        self.limiter.ended(job)
        self.gate.look()
        if outcome is not None and not job.lost:
            self.settler.add(job, outcome)
        else:  # no settlement will tell that there is room again
            report.lost(job)
            self.changed.set()
            self._poke()

    def _settled(self, job: Job, outcome: AnyOutcome, verdict: Settled) -> None:
        self.desk.settling.discard(job)
        if verdict is Settled.LOST:
            report.lost(job)
        elif type(outcome) is Parked:
            self.lines.parked(job.lane, job.delivery.task.key or "")
        if len(self.desk.settling) <= self.settler.stuck:
            self.changed.set()
            self.solitary.look()
            self._poke()
        elif self._full and not self.settler.full:
            self._full = False
            self._poke()

    # -- what heartbeats bring -------------------------------------------------------------------

    def _told(self, jobs: Sequence[Job], reply: BeatReply) -> None:
        for job, hold in zip(jobs, reply.held, strict=True):
            # UNKNOWN tells nothing: if it was lost meanwhile, a later heartbeat says so.
            if hold in (Hold.CANCELED, Hold.LOST) and job.stage is not Stage.ENDED:
                self._tell(job, Told.CANCEL if hold is Hold.CANCELED else Told.LOST)
        self.pauses.told(frozenset(reply.paused))
        if reply.quiet != self.fetcher.quiet:
            logger.info("ordered to %s", "be quiet" if reply.quiet else "fetch again")
            self.fetcher.quiet = reply.quiet
            if reply.quiet:
                self.recall("quiet")
            self._poke()
        if reply.stop and not self.ordered:
            logger.info("ordered to stop")
            self.ordered = True
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
            if self._withdrawn(job):
                self.finish(job, of_unstarted(why))
        else:
            self.send(Tell(job, why))

    def recall(self, reason: str) -> None:
        """Hand back whatever has not started."""
        self.send(Recall(reason))
        self.withdraw(reason, None)

    def _recall_one(self, recall: Recall) -> None:
        """What renewals recall: a job that waits here, not yet with the handlers, goes back too."""
        job = recall.job
        if job is not None and job.stage is Stage.ASKING and self._withdrawn(job):
            self.finish(job, HandBack(reason=recall.reason))
        else:
            self.send(recall)

    def withdraw(self, reason: str, lane: str | None) -> None:
        """Hand back what waits here, not yet with the handlers: of one lane, or all."""
        waits = [job for job in self.desk.active if job.stage is Stage.ASKING]
        # Withdrawn all at first, for the end of one may let another pass to the handlers.
        for job in [job for job in waits if lane in (None, job.lane) and self._withdrawn(job)]:
            self.finish(job, HandBack(reason=reason))

    def _withdrawn(self, job: Job) -> bool:
        """It waited here for a permit, or to be alone, and does so no more."""
        places = (self.limiter, self.gate, self.keys, self.solitary)
        return any(place.withdraw(job) for place in places)

    def _overdue(self) -> list[str]:
        late = [job.id for job in self.watchman.overdue()]
        wanted = late and self.options.recycle and not self.hopeless
        if wanted and (jobs := self.watchman.hopeless()):
            text = "code that cannot be stopped runs on, so this process must be replaced; %s"
            logger.error(text, report.listed(jobs))
            self.hopeless = True
            self.stopping.set()
        return late

    def _brake(self) -> bool:
        """True while nothing is to come: it could not be settled, or not be started."""
        if self.stopping.is_set():
            return True  # and the drain, which is about to begin, closes the fetcher
        self._full = self._full or self.settler.full
        return self.settler.full or not self.term.fresh(self.tools.clock())

    def _poke(self) -> None:
        self.limiter.look()
        self.gate.look()
        self.fetcher.poke()
