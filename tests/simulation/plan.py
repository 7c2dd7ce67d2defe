"""What a seed means: the tasks, what their handlers do, and what goes wrong when."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

import msgspec

from xqueue_core.task import Task

#: Lanes, one type each, and the limit each declares. "k" has keys; "p" is a plain function.
LANES: dict[str, int | None] = {"a": None, "b": 2, "k": None, "p": None}
#: Longest time a handler blocks its loop (seconds): cancels must still be told in time.
BLOCKED = 0.8
#: Seconds in which tasks are submitted and faults begin; then everything heals.
SUBMITTING, FAULTS = 5.0, 8.0

LEASE, HEARTBEAT, GRACE = 2.0, 0.4, 2.0


@dataclass(slots=True, frozen=True)
class Job:
    """One task, and what its handler does."""

    task: Task
    at: float  # when it is submitted
    takes: float = 0.1  # seconds of one attempt
    fails: int = 0  # so many first attempts fail
    how: str = "raise"  # ... by "raise", "retry" or "reject"
    poison: bool = False  # it kills its worker
    lingers: float = 0.0  # seconds it goes on after it was told to end
    twin: bool = False  # another has the same unique key
    blocks: float = 0.0  # seconds for which its first step blocks the handlers' loop

    @property
    def id(self) -> str:
        """The task's id."""
        return self.task.id


@dataclass(slots=True, frozen=True)
class Move:
    """Something done to the cluster at a moment."""

    at: float
    name: str
    worker: int = 0
    lasts: float = 0.0
    how: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        more = "".join(f" {key}={value}" for key, value in self.how.items())
        lasts = f" for {self.lasts:.2f} s" if self.lasts else ""
        return f"{self.name}{more}{lasts}"


@dataclass(slots=True)
class Plan:
    """A whole schedule."""

    seed: int
    workers: int
    embedded: bool  # drivers run in their workers, as with SQLite; else in the broker
    loose: bool
    lag: float  # chance that a message between threads takes its time
    flaky: float  # chance that a call goes wrong, in bad weather
    jobs: list[Job]
    faults: list[Move]  # by the hand of fate
    wishes: list[Move]  # by operators


def plan(seed: int) -> Plan:
    """The schedule of a seed."""
    random = Random(f"plan/{seed}")
    workers = random.choice((3, 3, 3, 4))
    waves = [0.0, random.uniform(0.3, SUBMITTING), random.uniform(0.3, SUBMITTING)]
    jobs = _jobs(random, waves)
    crowd = Crowd(seed)
    jobs = _blocking(seed, crowd.jobs(jobs))
    return Plan(
        seed,
        workers,
        embedded=random.random() < 0.4,
        loose=random.random() < 0.25,
        lag=random.choice((0.0, 0.02, 0.2)),
        flaky=random.choice((0.1, 0.3, 0.5)),
        jobs=jobs,
        faults=sorted(
            crowd.faults(_faults(random, workers, waves), workers), key=lambda move: move.at
        ),
        wishes=sorted(
            _wishes(random, jobs, workers) + crowd.wishes(workers), key=lambda move: move.at
        ),
    )


# -- tasks -----------------------------------------------------------------------------------------


def _jobs(random: Random, waves: list[float]) -> list[Job]:
    count = random.randint(50, 64)
    weights = random.choice(((5, 3, 3, 2), (3, 6, 4, 2)))
    lanes = random.choices(list(LANES), weights=weights, k=count)
    jobs = [_job(random, lane, number, waves) for number, lane in enumerate(lanes)]
    if random.random() < 0.4:
        at = random.uniform(0.0, SUBMITTING)
        jobs.append(Job(Task(id="a:poison", lane="a", max_retry=1), at, poison=True))
    for number in range(random.randint(1, 3)):
        jobs += _twins(random, number)
    return sorted(jobs, key=lambda job: job.at)


def _twins(random: Random, number: int) -> list[Job]:
    """Two or three tasks of one unique key, put while the first may live."""
    lane, at = random.choice(("a", "b")), random.uniform(0.0, SUBMITTING)
    options: dict[str, Any] = {"lane": lane, "unique_key": f"unique{number}", "max_retry": 3}
    return [
        Job(
            Task(id=f"{lane}:twin{number}.{n}", delay=random.choice((0.0, 0.5)), **options),
            at + n * random.choice((0.0, 0.1, 1.0)),
            random.uniform(0.01, 1.0),
            twin=True,
        )
        for n in range(random.choice((2, 2, 3)))
    ]


def _job(random: Random, lane: str, number: int, waves: list[float]) -> Job:
    options: dict[str, Any] = {"max_retry": random.choice((0, 1, 3, 3))}
    if random.random() < 0.4:
        options["priority"] = random.randint(1, 9)
    if random.random() < 0.15:
        options["delay"] = random.uniform(0.1, 4.0)
    if lane == "k":
        which = random.randint(0, 2)
        options["key"], options["key_limit"] = f"key{which}", 1 + which // 2
    if random.random() < 0.05:
        options["queue_timeout"] = random.uniform(0.2, 3.0)
    takes = random.choice((0.0, random.uniform(0.01, 0.5), random.uniform(0.01, 0.5)))
    if random.random() < 0.06:
        takes = random.uniform(1.0, 4.0)
    options["process_timeout"] = 20.0
    fails = 0
    if random.random() < 0.15:
        fails = random.randint(1, 5)
    if random.random() < 0.08:
        options["process_timeout"] = random.uniform(0.05, 0.4)
    task = Task(id=f"{lane}:{number}", lane=lane, payload=b"{}", **options)
    return Job(
        task,
        # Most come at once, so that there is more to do than slots.
        random.choice((*waves, random.uniform(0.0, SUBMITTING))),
        takes,
        fails,
        random.choice(("raise", "raise", "retry", "reject")),
        lingers=random.choice((0.0, 0.0, 0.0, random.uniform(0.01, 0.5))),
    )


def _blocking(seed: int, jobs: list[Job]) -> list[Job]:
    """In one schedule of four a few coroutines block their loop, with others beside them.

    It draws for itself, so that all other schedules stay what they are.
    """
    random = Random(f"blocking/{seed}")
    if random.random() >= 1 / 4:
        return jobs
    ours = [job.id for job in jobs if job.task.lane != "p" and not (job.twin or job.poison)]
    chosen = set(random.sample(ours, min(len(ours), random.randint(1, 4))))
    return [
        replace(job, blocks=random.uniform(0.2, BLOCKED)) if job.id in chosen else job
        for job in jobs
    ]


# -- faults ----------------------------------------------------------------------------------------

_LONG = ("stop", "partition", "outage", "block")  # longer than a lease, now and then

_WEIGHTS = {
    "crash": 4,
    "stop": 4,
    "partition": 4,
    "outage": 3,
    "restart": 1,
    "storm": 4,
    "block": 2,
    "jump": 1,
    "forget": 1,
    "amnesia": 1,
    "drain": 3,
    "cancel": 2,
}


def _faults(random: Random, workers: int, waves: list[float]) -> list[Move]:
    count = random.randint(5, 9)
    names = random.choices(list(_WEIGHTS), weights=list(_WEIGHTS.values()), k=count)
    moves = [_fault(random, name, workers) for name in names]
    # Half of them strike while there is much to do.
    return [
        replace(move, at=random.choice(waves) + random.uniform(0.01, 0.4))
        if random.random() < 0.5
        else move
        for move in moves
    ]


def another(random: Random, workers: int) -> Move:
    """One more, soon: for one that struck nothing."""
    [name] = random.choices(list(_WEIGHTS), weights=list(_WEIGHTS.values()))
    move = _fault(random, name, workers)
    return replace(move, at=random.uniform(0.0, 0.5))


def _fault(random: Random, name: str, workers: int) -> Move:
    lasts = random.choice((random.uniform(0.1, 1.0), random.uniform(1.5, 5.0)))
    how: dict[str, Any] = {}
    if name in ("partition", "outage"):
        how["weather"] = random.choice(("refuse", "hang", "mute"))
    elif name == "jump":
        how["by"] = random.choice((-86_400.0, -3.0, 3.0, 86_400.0))
    elif name == "drain":
        how["twice"] = random.random() < 0.4
    elif name == "cancel":
        how["step"] = random.randint(1, 2000)
    elif name == "forget":
        how["key"] = random.choice(("lane:b", "key:k:key0", "key:k:key2"))
    at = random.uniform(0.3, FAULTS)
    return Move(at, name, random.randrange(workers), lasts, how)


# -- wishes ----------------------------------------------------------------------------------------


def _wishes(random: Random, jobs: list[Job], workers: int) -> list[Move]:
    # An id that was refused stands for the task in its place: orders would mean that.
    jobs = [job for job in jobs if not job.twin]
    wishes = [
        Move(job.at + random.uniform(0.0, 2.0), "cancel", how={"id": job.id})
        for job in random.sample(jobs, random.randint(2, 6))
        if not job.poison
    ]
    wishes += [
        Move(job.at + random.uniform(1.0, 4.0), "replay", how={"id": job.id})
        for job in random.sample(jobs, random.randint(0, 3))
        if not job.poison
    ]
    for _ in range(random.choice((0, 1, 1, 2))):
        lane = random.choice(list(LANES))
        at = random.uniform(0.5, SUBMITTING)
        wishes.append(Move(at, "pause", how={"lane": lane}))
        wishes.append(Move(at + random.uniform(0.2, 3.0), "resume", how={"lane": lane}))
    for _ in range(random.randint(0, 4)):
        key = random.choice(("lane:a", "lane:b", "lane:b", "lane:p", "key:k:key2"))
        limit = random.choice((1, 1, 2, 3, None))
        at = random.uniform(0.3, SUBMITTING)
        wishes.append(Move(at, "limit", how={"key": key, "limit": limit}))
    wishes += [
        Move(job.at + random.uniform(0.0, 6.0), "purge", how={"id": job.id})
        for job in random.sample(jobs, random.randint(1, 4))
        if not job.poison
    ]
    wishes += _orders(random, workers)
    for job in random.sample(jobs, random.randint(0, 2)):
        at = job.at + random.uniform(0.0, 1.0)
        how = {"id": job.id, "delay": random.uniform(0.0, 3.0)}
        wishes.append(Move(at, "reschedule", how=how))
    return wishes


def _orders(random: Random, workers: int) -> list[Move]:
    """To be quiet for a while, and to end."""
    orders = []
    for name, chance in (("quiet", 0.6), ("leave", 0.4)):
        if random.random() < chance:
            at, lasts = random.uniform(0.5, SUBMITTING), random.uniform(0.5, 3.0)
            orders.append(Move(at, name, random.randrange(workers), lasts))
    return orders


# -- crowds ----------------------------------------------------------------------------------------


class Crowd:
    """In one schedule of eight more tasks wait for permits than there are, for long.

    Meanwhile a worker is told to be quiet, or cannot reach the queue, or is busy with other tasks.
    Other faults are early and short: who is in trouble need not take permits, nor give them back.
    It draws for itself, so that all other schedules stay what they are.
    """

    def __init__(self, seed: int) -> None:
        self._random = Random(f"crowd/{seed}")
        self._comes = self._random.random() < 1 / 8

    def jobs(self, jobs: list[Job]) -> list[Job]:
        """Most tasks need permits, the first few are long ones that need none."""
        if not self._comes:
            return jobs
        ours = [job for job in jobs if not (job.twin or job.poison)]
        most = {"a": self._random.choice((0, 4, 6)), "p": self._random.choice((0, 2, 3))}
        long = {
            job.id
            for lane, count in most.items()
            for job in [one for one in ours if one.task.lane == lane][:count]
        }
        limited = {job.id for job in ours if job.task.lane == "a"} - long
        return [
            self._long(job) if job.id in long else self._limited(job) if job.id in limited else job
            for job in jobs
        ]

    def _long(self, job: Job) -> Job:
        return replace(job, takes=self._random.uniform(4.0, 7.0), fails=0)

    def _limited(self, job: Job) -> Job:
        lane, number = self._random.choice("bbbk"), job.id.partition(":")[2]
        options: dict[str, Any] = {"lane": lane, "id": f"{lane}:{number}"}
        if lane == "k":
            options |= {"key": "key0", "key_limit": 1}
        takes = self._random.uniform(0.4, 0.9)
        return replace(job, task=msgspec.structs.replace(job.task, **options), takes=takes)

    def wishes(self, workers: int) -> list[Move]:
        """One is to be quiet for long; plain functions, too, need permits."""
        wishes: list[Move] = []
        if self._comes and self._random.random() < 0.5:
            at, lasts = self._random.uniform(2.0, 5.0), self._random.uniform(6.0, 9.0)
            wishes.append(Move(at, "quiet", self._random.randrange(workers), lasts))
        if self._comes and self._random.random() < 0.5:
            how = {"key": "lane:p", "limit": self._random.choice((3, 4))}
            wishes.append(Move(self._random.uniform(0.1, 1.0), "limit", how=how))
        return wishes

    def faults(self, faults: list[Move], workers: int) -> list[Move]:
        """One does not reach the queue for long, but the semaphore."""
        if not self._comes:
            return faults
        soon = [
            replace(move, at=min(move.at, self._random.uniform(0.3, 2.5)), lasts=move.lasts / 5)
            for move in faults
        ]
        if self._random.random() < 0.4:
            at, lasts = self._random.uniform(1.0, 4.0), self._random.uniform(5.0, 7.0)
            how = {"weather": self._random.choice(("refuse", "hang"))}
            soon.append(Move(at, "sever", self._random.randrange(workers), lasts, how))
        return soon
