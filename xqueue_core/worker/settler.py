"""Records outcomes: at once when idle, together while a call is under way, until told."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from xqueue_core.calls import Settle, Settled
from xqueue_core.errors import BrokerError
from xqueue_core.task import AnyOutcome, Failed, Failure, RetryAt, Success
from xqueue_core.text import storable
from xqueue_core.worker.job import Job
from xqueue_core.worker.tools import Backoff, Tools

if TYPE_CHECKING:
    from xqueue_core.abc import TaskQueue

logger = logging.getLogger("xqueue.worker")

#: Most outcomes in one call.
BATCH = 500
#: Bytes of results in one call, if it has more than one: each call has its time, and one that never
#: ends within it would be repeated for ever.
BATCH_BYTES = 4 * 1024 * 1024
#: A batch of more bytes than this is sent again in halves when it got no answer: maybe it is too
#: large for a slow line.
PIECE = 256 * 1024
#: Bytes of results that may wait; beyond it nothing is fetched.
BYTES = 64 * 1024 * 1024
#: How often an outcome is sent alone before another is tried in its place: a refusal may pass.
TRIES = 5
#: How often where nothing else was recorded meanwhile, which would prove that the outcome is at
#: fault and not the backend; that takes about half a minute.
UNPROVEN = 25
#: Longest wait (seconds) until outcomes are sent again when the worker is about to end.
URGENT = 0.2

Entry = tuple[Job, AnyOutcome]


@dataclass(slots=True)
class _Fault:
    """How an outcome that failed alone has fared."""

    recorded: int  #: calls that had succeeded at its last refusal
    times: int = 0
    proven: bool = False  #: another call succeeded between two of its refusals
    spent: bool = False  #: nothing fares better in its place


class Settler:
    """Keeps every outcome until the backend has said APPLIED, REPEATED or LOST.

    ``settled`` is called with each job and its verdict. ``full`` is the brake: while it is
    True nothing should be fetched, so that memory stays bounded however long the broker is away.

    While the broker is away everything is kept and repeated, large batches in halves. A call that
    fails in any other way is the fault of an outcome in it: the batch is sent again in halves,
    until the faulty ones are alone. They are repeated beside the others; then a plain failure is
    tried in their place. What the backend does not take even so is kept until the worker ends, and
    then handed back.
    """

    def __init__(
        self,
        queue: TaskQueue,
        tools: Tools,
        settled: Callable[[Job, AnyOutcome, Settled], None],
        most: int,
    ) -> None:
        self._queue = queue
        self._away = Backoff(tools)
        self._odd = Backoff(tools)
        self._settled = settled
        self._most = most
        self._waiting: deque[Entry] = deque()
        self._under_way: deque[list[Entry]] = deque()  # batches; more than one once it was split
        self._doubtful: list[Entry] = []  # failed alone; each is only ever sent alone
        self._pause: asyncio.Task[int] | None = None  # until the doubtful ones are tried again
        self._recorded = 0  # calls that succeeded
        self._faults: dict[Job, _Fault] = {}
        self._replaced: dict[Job, AnyOutcome] = {}  # what another stands in for just now
        self._bytes = 0
        self.gave_up: Callable[[], object] = lambda: None  #: called when there is one :attr:`spent`
        self._wake = asyncio.Event()

    def add(self, job: Job, outcome: AnyOutcome) -> None:
        """Record this outcome."""
        self._waiting.append((job, outcome))
        self._bytes += _size(outcome)
        self._wake.set()

    @property
    def full(self) -> bool:
        """True while too much waits."""
        return len(self._waiting) + len(self._doubtful) >= self._most or self._bytes >= BYTES

    @property
    def idle(self) -> bool:
        """True if nothing waits or is under way."""
        return not (self._waiting or self._under_way or self._doubtful)

    @property
    def spent(self) -> list[Job]:
        """Those whose outcomes have been tried so often that there is no hope for them."""
        return [job for job, fault in self._faults.items() if fault.spent]

    @property
    def stuck(self) -> int:
        """How many outcomes are tried again and again, because they failed alone."""
        return len(self._faults)

    @property
    def done(self) -> bool:
        """True if nothing waits or is under way that there is hope for."""
        left = len(self._waiting) + len(self._doubtful) + sum(map(len, self._under_way))
        return left == len(self.spent)

    def urge(self) -> None:
        """The worker is about to end: what the broker does not take is soon sent again."""
        self._away.cap = URGENT

    async def run(self) -> None:
        """Settle until cancelled."""
        try:
            while True:
                await self._woken()
                await self._round()
        finally:
            if self._pause is not None:
                self._pause.cancel()

    async def _woken(self) -> None:
        """Wait until something comes, or it is time to try the doubtful ones again."""
        if self._pause is None:
            await self._wake.wait()
        else:
            wake = asyncio.create_task(self._wake.wait())
            try:
                await asyncio.wait({wake, self._pause}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                wake.cancel()
        self._wake.clear()
        if self._pause is not None and self._pause.done():
            self._pause = None
            self._under_way.extend([entry] for entry in self._doubtful)
            self._doubtful.clear()

    async def _round(self) -> None:
        """Everything that waits or is under way."""
        while self._waiting or self._under_way:
            if not self._under_way:
                self._under_way.append(self._batch())
            await self._settle(self._under_way[0])
        if not self._doubtful:
            self._odd.reset()
        elif self._pause is None:
            self._pause = asyncio.create_task(self._odd.wait())

    def _batch(self) -> list[Entry]:
        """The first that wait, as many as one call may have."""
        batch: list[Entry] = []
        left = BATCH_BYTES
        while self._waiting and len(batch) < BATCH:
            left -= _size(self._waiting[0][1])
            if left < 0 and batch:
                break
            batch.append(self._waiting.popleft())
        return batch

    async def _settle(self, batch: list[Entry]) -> None:
        """Send the first batch under way, and take it from there unless it must be repeated."""
        try:
            verdicts = await self._queue.settle(
                [Settle(job.delivery.task.id, job.delivery.token, how) for job, how in batch]
            )
            if len(verdicts) != len(batch):
                raise RuntimeError(f"{len(verdicts)} answers to {len(batch)} outcomes")
        except BrokerError as error:
            if error.answered:
                self._split(batch, error)
                return
            original = self._replaced.pop(batch[0][0], None)
            if original is not None:  # whether the backend takes the original is open again
                self._under_way.popleft()
                self._doubtful.append((batch[0][0], original))
            if await self._away.wait() == 1:
                logger.warning("outcomes cannot be recorded now, they are kept: %s", error)
            if len(batch) > 1 and sum(_size(outcome) for _, outcome in batch) > PIECE:
                self._halve(batch)
        except Exception as error:
            if len(batch) > 1 or batch[0][0] not in self._faults:
                logger.exception("recording %d outcomes failed unexpectedly", len(batch))
            self._split(batch, error)
        else:
            self._under_way.popleft()
            self._recorded += 1
            if self._away.reset():
                logger.info("outcomes are recorded again")
            await self._answered(batch, verdicts)

    async def _answered(self, batch: list[Entry], verdicts: Sequence[Settled]) -> None:
        again = []
        for entry, verdict in zip(batch, verdicts, strict=True):
            if verdict is Settled.UNKNOWN:
                again.append(entry)
            else:
                self._done(entry, verdict)
        if again:
            self._under_way.append(again)
            await self._away.wait()

    def _done(self, entry: Entry, verdict: Settled) -> None:
        job, outcome = entry
        original = outcome
        if self._faults:
            self._faults.pop(job, None)
            original = self._replaced.pop(job, outcome)
        self._bytes -= _size(original)
        self._settled(job, outcome, verdict)

    def _split(self, batch: list[Entry], error: Exception) -> None:
        """The call failed for good: find whose fault it was."""
        if len(batch) > 1:
            self._halve(batch)
        else:
            self._under_way.popleft()
            self._doubt(batch[0], error)

    def _halve(self, batch: list[Entry]) -> None:
        """Send the first batch under way as two."""
        self._under_way.popleft()
        middle = len(batch) // 2
        self._under_way.appendleft(batch[middle:])
        self._under_way.appendleft(batch[:middle])

    def _doubt(self, entry: Entry, error: Exception) -> None:
        """This outcome failed alone: try it again later, but not for ever."""
        job, outcome = entry
        original = self._replaced.pop(job, None)
        fault = self._faults.setdefault(job, _Fault(self._recorded))
        if original is not None:
            self._doubtful.append((job, original))
            self._spend(fault)
            return
        fault.times += 1
        fault.proven |= self._recorded > fault.recorded
        fault.recorded = self._recorded
        if fault.times in (TRIES, UNPROVEN):
            logger.error("the outcome of %s cannot be recorded: %r", job.id, error)
        sure = fault.times >= (TRIES if fault.proven else UNPROVEN)
        if sure and isinstance(outcome, Success | Failed | RetryAt):
            self._replaced[job] = outcome
            plain = Failed(Failure("result", message=_reason(error)))
            self._under_way.appendleft([(job, plain)])
        else:
            self._doubtful.append(entry)
            if sure:
                self._spend(fault)

    def _spend(self, fault: _Fault) -> None:
        if not fault.spent:
            fault.spent = True
            self.gave_up()


def _size(outcome: AnyOutcome) -> int:
    """Bytes of its result: all else is small."""
    return len(outcome.result) if type(outcome) is Success else 0


def _reason(error: Exception) -> str:
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - whatever a driver raises
        text = type(error).__name__
    return storable(f"the outcome cannot be recorded: {text[:500]}")
