"""Permits of lanes: taken before tasks are leased, kept for the next task, given back in time."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING

from xqueue_core.permits import Request
from xqueue_core.task import AnyOutcome, HandBack
from xqueue_core.worker.asking import Asking
from xqueue_core.worker.declaring import KEPT, Declaring, others
from xqueue_core.worker.desk import SCARCE, Desk
from xqueue_core.worker.grip import Grip
from xqueue_core.worker.job import Job, Stage
from xqueue_core.worker.lane import UNLIMITED, Lane
from xqueue_core.worker.options import WorkerOptions
from xqueue_core.worker.permits import PermitDesk
from xqueue_core.worker.tools import Tools

if TYPE_CHECKING:
    from xqueue_core.abc import Semaphore, TaskView
    from xqueue_core.handlers import Kind


class Limiter:
    """What limits let this worker lease, lane by lane.

    Args:
        poke: called when more may be leased.
        enter: takes a job that has waited here for its permit.
        refuse: takes one that will get none here, and its outcome.
        resting: True while nothing is to be fetched, for as long as it may last.
        shut: True also while nothing can be fetched just now.
        view: tells which other workers there are.
    """

    def __init__(
        self,
        semaphore: Semaphore | None,
        permits: PermitDesk,
        desk: Desk,
        lanes: Mapping[str, int | None],
        kinds: Mapping[str, Collection[Kind]],
        options: WorkerOptions,
        tools: Tools,
        poke: Callable[[], None],
        enter: Callable[[Job], None],
        refuse: Callable[[Job, AnyOutcome], None],
        resting: Callable[[], bool],
        shut: Callable[[], bool],
        view: TaskView | None = None,
    ) -> None:
        self._semaphore = semaphore
        self._permits = permits
        self._desk = desk
        self._lanes = {
            name: Lane(name, declared, tuple(kind for kind in SCARCE if kind in kinds[name]))
            for name, declared in lanes.items()
        }
        self._poke = poke
        self._enter = enter
        self._refuse = refuse
        self._clock = tools.clock
        self._resting = resting
        self._shut = shut
        self._asking = Asking(permits, self._lanes, desk, shut, options, tools, self._granted, poke)
        self._declaring = Declaring(
            semaphore,
            permits,
            self._lanes.values(),
            options,
            tools,
            others(view, permits.worker),
        )
        self.sighted = False  # True once it was seen which lanes have limits

    @property
    def keys(self) -> list[str]:
        """The semaphore keys to watch: those of all lanes served, and the one that is kept."""
        return [*(lane.key for lane in self._lanes.values()), KEPT]

    @property
    def idle(self) -> bool:
        """True if permits are in hand that no task uses."""
        return any(lane.idle for lane in self._lanes.values())

    async def declare(self) -> None:
        """Say each lane's limit, none included; the last worker to start wins.

        Raises Unavailable as long as it must wait for others, because the semaphore has lost its
        data.
        """
        await self._declaring.begin()

    @property
    def counted(self) -> int:
        """In which life of the semaphore all that runs here is counted; 0 if in none."""
        return self._declaring.told

    def look(self) -> None:
        """There may be more room, or less, or a rest has begun or ended."""
        if self._resting():
            for lane in self._lanes.values():
                lane.give_back_all(self._permits)
        self._asking.look()

    def ended(self, job: Job) -> None:
        """A job is not here any more."""
        if job.started:
            for lane in self._lanes.values():
                lane.spurned = False
        self.look()

    async def run(self) -> None:
        """Ask for permits until cancelled."""
        if self._semaphore is not None:
            await self._asking.run()

    # -- for the fetcher -----------------------------------------------------------------------

    def limited(self, lane: str) -> bool:
        """True if tasks of the lane need a permit."""
        found = self._lanes.get(lane)
        return found is not None and found.version > 0

    def allowance(self, name: str) -> int | None:
        """How many tasks of the lane may be leased; 0 = ask to be woken, None = leave it out."""
        lane = self._lanes[name]
        if not lane.version:
            return None if name in self._permits.stalled else UNLIMITED
        if not lane.open or not self._permits.fresh():
            return None  # what is in hand may have expired
        allowed = len(lane.idle) + self._ahead(lane)
        # That there is work is known of who stands in line: to be told so, and at once, is of
        # no use.
        return None if not allowed and (lane.work or lane.asked) else allowed

    def _ahead(self, lane: Lane) -> int:
        """How many tasks of the lane to fetch for the permits its running ones will leave.

        All lanes together keep no more waiting than is fetched ahead, so that every slot can
        run something, whichever lane that belongs to.
        """
        if lane.hungry <= 0:
            return 0
        hungry = [one for one in self._lanes.values() if one.hungry > 0]
        room = self._desk.prefetch - len(self.waiting())
        share, rest = divmod(max(0, room), len(hungry))
        return min(lane.hungry, share + (hungry.index(lane) < rest))

    def take(self, job: Job) -> bool:
        """Put a permit in the hands of a job that has come. False if there is none."""
        lane = self._lanes[job.lane]
        if not lane.idle:
            return False
        _serve(lane, lane.idle.pop(), job)
        return True

    def keep(self, job: Job) -> bool:
        """Let a job that was fetched ahead wait for a permit in use here. False if it cannot."""
        lane = self._lanes[job.lane]
        if lane.hungry <= 0 or len(self.waiting()) >= self._desk.prefetch:
            return False
        job.stage = Stage.ASKING
        lane.waiting.append(job)
        return True

    def withdraw(self, job: Job) -> bool:
        """A job must not start. False if it does not wait here."""
        lane = self._lanes.get(job.lane)
        if lane is None or job not in lane.waiting:
            return False
        lane.waiting.remove(job)
        return True

    def ready(self, names: list[str]) -> None:
        """These lanes have work."""
        for name in names:
            lane = self._lanes.get(name)
            if lane is not None:
                lane.work = True
        self.look()

    def leased(self, name: str, wanted: int, got: int, full: bool) -> None:
        """A call that did not wait asked for ``wanted`` of the lane and brought ``got``.

        ``full``: the call brought as much as it could in all, so that nothing follows from it.
        """
        lane = self._lanes[name]
        if not lane.version or not wanted or full:
            return
        # A short answer is no empty lane: where many workers take, one loses some to others.
        lane.work = got > 0
        if not lane.work:
            lane.give_back_all(self._permits)
        self.look()

    def trim(self) -> None:
        """Give back idle permits beyond the free slots: they would only keep others out."""
        waiting = self.waiting()
        room = max(1, self._desk.startable(None, waiting))
        for lane in self._lanes.values():
            few = [max(1, self._desk.startable(kind, waiting)) for kind in lane.scarce]
            most = min([room, *few])
            if len(lane.idle) > most:
                lane.give_back(self._permits, len(lane.idle) - most)
                self.look()
            room = max(0, room - len(lane.idle))

    def freed(self, job: Job) -> None:
        """The job has ended: its permit serves the next of its lane, or goes back."""
        grip, job.permit = job.permit, None
        if grip is None:
            return
        if job.started:
            grip.since = self._clock()
        grip.job = None
        lane = self._lanes[grip.lane]
        lane.used -= 1
        lane.spurned = lane.spurned or (grip.yielding and not job.started)
        if not grip.lost:
            if grip.yielding or not lane.open:
                self._permits.release(grip)
            else:
                self._granted(lane, grip)
        self._hand_back_stranded(lane)
        self.look()

    def paused(self, names: Collection[str]) -> None:
        """These lanes, and no others, are paused: their permits are of no use here.

        The semaphore may live in another broker, which knows of no pause.
        """
        for lane in self._lanes.values():
            if lane.paused == (lane.name in names):
                continue
            lane.paused = not lane.paused
            if lane.paused:
                lane.withdraw(self._permits)
                lane.give_back_all(self._permits)
            else:
                lane.work = True
        self.look()

    # -- what the renewals tell ------------------------------------------------------------------

    async def forgotten(self, versions: Mapping[str, int]) -> bool:
        """True if the semaphore has lost its data, which is then told again, by every worker."""
        forgotten = True  # also if it fails: it asks others only after a loss
        try:
            forgotten = await self._declaring.forgotten(versions)
        finally:
            if forgotten:
                # Granted in its new life, beside runs that are not counted in it.
                for lane in self._lanes.values():
                    lane.give_back_aside(self._permits)
                self.look()
        return forgotten

    def interrupted(self) -> None:
        """A renewal failed."""
        self._declaring.interrupted()

    def counts(self) -> None:
        """All that runs here is counted."""
        self._declaring.counts()

    def seen(self, versions: Mapping[str, int]) -> list[str]:
        """Versions of the limits; answers the lanes that have become limited.

        Those are closed until :meth:`open`, for what runs in them must be counted first.
        """
        self.sighted = True
        fresh = []
        for lane in self._lanes.values():
            # Where nothing can be told, what was true last is.
            version = versions.get(lane.key, lane.version)
            if version == lane.version:
                continue
            before, lane.version = lane.version, version
            lane.saturated = False
            if not before:
                lane.work = lane.closed = True
                fresh.append(lane.name)
            elif not version:
                self._unlimited(lane)
        if fresh:
            self._poke()
        self.look()
        return fresh

    def _unlimited(self, lane: Lane) -> None:
        lane.closed = False
        lane.withdraw(self._permits)
        lane.give_back_all(self._permits)
        while lane.waiting:
            self._enter(lane.waiting.popleft())
        self._poke()

    def uncounted(self) -> list[Job]:
        """What is here in limited lanes without a permit: the semaphore must come to know it.

        It came before the limit, or the semaphore lost its permit. Its lane is closed until
        :meth:`open`.
        """
        waiting = {id(job) for lane in self._lanes.values() for job in lane.waiting}
        found = []
        for job in self._desk.active:
            lane = self._lanes.get(job.lane)
            if lane is None or not lane.version or id(job) in waiting:
                continue
            # What has not started under a lost permit never will.
            if job.permit is None or (job.permit.lost and job.started):
                lane.closed = True
                found.append(job)
        return sorted(found, key=lambda job: job.id)

    def open(self) -> None:
        """All that ran in limited lanes is counted."""
        if self._permits.stalled:
            self._permits.stalled.clear()
            self._poke()
        for lane in self._lanes.values():
            lane.closed = False
            if known := lane.settle():
                for grip in known:
                    self._granted(lane, grip)
                self.trim()
                self._poke()
            self._hand_back_stranded(lane)
        self.look()

    def register(self, job: Job) -> Request:
        """A request for a job that is uncounted."""
        return self._asking.request(self._lanes[job.lane], queue=False, running=True)

    def registered(self, job: Job, grip: Grip) -> None:
        """That request was granted, above the limit if need be: it serves no other task."""
        if job.permit is None:
            self._lanes[job.lane].used += 1
        grip.yielding = True
        grip.job, job.permit = job, grip

    def dropped(self, grip: Grip) -> None:
        """An idle permit was lost, or must be given up."""
        lane = self._lanes[grip.lane]
        lane.spurned = lane.spurned or grip.yielding
        for permits in (lane.idle, lane.aside):
            if grip in permits:
                permits.remove(grip)
        self.look()

    def close(self) -> None:
        """Ask for nothing more; leave every line and give back what no task uses."""
        for lane in self._lanes.values():
            lane.work = False
            lane.withdraw(self._permits)
            lane.give_back_all(self._permits)
        self._asking.close()

    # -- permits and who is served next ----------------------------------------------------------

    def _granted(self, lane: Lane, grip: Grip) -> None:
        """A permit is in hand: for what waits here, or for what is leased next."""
        if lane.waiting:
            job = lane.waiting.popleft()
            _serve(lane, grip, job)
            self._enter(job)
        elif lane.work and not self._shut():
            lane.idle.append(grip)
        else:
            self._permits.release(grip)

    def _hand_back_stranded(self, lane: Lane) -> None:
        """What waits for permits in use here is of use elsewhere when there are none any more."""
        while lane.waiting and not (lane.used or lane.spare):
            self._refuse(lane.waiting.popleft(), HandBack(reason="no permit"))

    def waiting(self) -> list[Job]:
        """What was fetched ahead, and waits for a permit that is in use here."""
        return [job for lane in self._lanes.values() for job in lane.waiting]


def _serve(lane: Lane, grip: Grip, job: Job) -> None:
    grip.job, job.permit = job, grip
    lane.used += 1
