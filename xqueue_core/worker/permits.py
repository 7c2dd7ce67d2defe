"""All permits of this worker, of lanes and of keys: renewed together, released in batches."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from xqueue_core.errors import BrokerError, Unavailable, Unknown, Unsupported
from xqueue_core.permits import Answer, Grant, Keep, Permit, Renewed, Request
from xqueue_core.worker.grip import Grip
from xqueue_core.worker.options import WorkerOptions
from xqueue_core.worker.tools import Backoff, Term, Tools

if TYPE_CHECKING:
    from xqueue_core.abc import Semaphore

logger = logging.getLogger("xqueue.worker")

#: Seconds for which permits that nobody is known to wait for gather, to go back in one call.
GATHER = 0.005
#: A withdrawal is repeated after so many seconds: longer than a call can be under way.
AGAIN = (1.0, 8.0)
#: Answers after which a request is not made again, although it has no permit.
FINAL = (Grant.DENIED, Grant.FREE)


class PermitDesk:
    """Every permit that was granted and not yet released, by its request's id.

    A call that ends without an answer may be carried out later, even when its request, repeated,
    has been answered, and its permit used and given back: the semaphore has forgotten that and
    grants it anew, to nobody. So such a request is in doubt until it is over, and is then
    withdrawn once all its calls must have arrived. That harms nothing: a request that is over is
    never made again.
    """

    def __init__(
        self, semaphore: Semaphore | None, worker: str, options: WorkerOptions, tools: Tools
    ) -> None:
        self.worker = worker
        self._semaphore = semaphore
        self._options = options
        self._tools = tools
        self._backoff = Backoff(tools)
        self._numbers = itertools.count(1)
        #: True of a key's permit that nobody is known to wait for.
        self.unhurried: Callable[[Permit], bool] = lambda permit: False
        #: Lanes whose tasks went back for want of a semaphore: left out until it answers again.
        self.stalled: set[str] = set()
        self._held: dict[str, Grip] = {}
        self._doubtful: set[str] = set()  # requests that an unanswered call may yet carry out
        self._returning: list[Permit] = []
        self._again: list[tuple[float, Permit]] = []  # to withdraw once more, and when
        self._wake = asyncio.Event()
        self._armed = False
        self._hushed_until = self._renewed_at = float("-inf")
        self._took = 0.0  # how long the answer to the last renewal took, at most patience
        # Renewed twice as often as the worker's own lease; else the same rule holds for both.
        self._term = Term(options.lease - options.margin)

    def new_id(self) -> str:
        """An id for a new request."""
        return f"{self.worker}:{next(self._numbers)}"

    def fresh(self) -> bool:
        """True while what is held is known to be ours."""
        return self._semaphore is None or self._term.fresh(self._tools.clock())

    def hush(self, until: float) -> None:
        """Ask for nothing until then: the semaphore is told again what was held before."""
        self._hushed_until = max(self._hushed_until, until)

    def hushed(self) -> bool:
        """True while nothing may be asked for."""
        return self._tools.clock() < self._hushed_until

    def blind(self) -> bool:
        """True if the last renewal is more than a heartbeat ago: no lane's permit is to be taken.

        A worker that was stopped, say, may not have seen that the semaphore lost what it holds,
        though all others have, and have told it the limits again. It counts from when the renewal
        was sent; how long its answer took is allowed for, or a slow semaphore would grant nothing.
        """
        return self._tools.clock() - self._renewed_at > self._options.heartbeat + self._took

    async def acquire(self, requests: Sequence[Request], wait: float) -> Sequence[Answer]:
        """Ask the semaphore, and remember what is left in doubt. Raises what the semaphore raises.

        Each request is asked for until it is answered for good, or withdrawn.
        """
        if (semaphore := self._semaphore) is None:
            raise Unsupported("this backend has no semaphore")
        try:
            answers, lapsed = await self._asked(semaphore, requests, wait)
            while lapsed:
                # Dead meanwhile, and alive again by a renewal that did not name what this brought:
                # others may have it by now. Asked again, the semaphore says what is still ours.
                answers, lapsed = await self._asked(semaphore, requests, 0.0)
        except Unavailable:  # nothing has happened, and nothing will
            raise
        except BaseException:
            self._doubtful.update(request.id for request in requests)
            raise
        if self._doubtful:
            for request, answer in zip(requests, answers, strict=True):
                if answer.grant in FINAL:
                    self._over(request.id, request.key)
        return answers

    async def _asked(
        self, semaphore: Semaphore, requests: Sequence[Request], wait: float
    ) -> tuple[Sequence[Answer], bool]:
        """The answers, and whether some were granted in a spell that has ended since."""
        spell = self._term.spell
        answers = await semaphore.acquire(requests, wait)
        if len(answers) != len(requests):
            raise RuntimeError(f"{len(answers)} answers to {len(requests)} requests")
        granted = any(answer.grant is Grant.GRANTED for answer in answers)
        return answers, granted and self._term.spell != spell

    def granted(self, request: Request, token: int, lane: str) -> Grip:
        """A request was granted."""
        permit = Permit(id=request.id, key=request.key, token=token)
        grip = Grip(permit, lane, self._term, self._tools.clock())
        self._held[request.id] = grip
        return grip

    def release(self, grip: Grip) -> None:
        """Give a permit back soon."""
        if self._held.pop(grip.permit.id, None) is not None:
            self._returning.append(grip.permit)
            self._over(grip.permit.id, grip.permit.key)
            if grip.lane or not self.unhurried(grip.permit):
                self._wake.set()
            elif not self._armed:
                self._armed = True
                asyncio.get_running_loop().call_later(GATHER, self._gathered)

    def _gathered(self) -> None:
        self._armed = False
        self._wake.set()

    def withdraw(self, request: Request) -> None:
        """Leave the line, or give back what was granted meanwhile."""
        self._returning.append(Permit(id=request.id, key=request.key))
        self._wake.set()
        self._doubtful.add(request.id)
        self._over(request.id, request.key)

    def _over(self, id: str, key: str) -> None:
        """A request is not made again: is it in doubt, take back later what it may be granted."""
        if id in self._doubtful:
            self._doubtful.remove(id)
            now, permit = self._tools.clock(), Permit(id=id, key=key)
            self._again.extend((now + later, permit) for later in AGAIN)

    def _withdraw_again(self, now: float) -> None:
        due = [permit for at, permit in self._again if at <= now]
        if due:
            self._again = [one for one in self._again if one[0] > now]
            self._returning.extend(due)
            self._wake.set()

    async def renew(
        self, watch: Sequence[str], told: Callable[[Grip, Keep], None]
    ) -> Mapping[str, int]:
        """Renew everything once; answers the versions of the watched limits.

        ``told`` is called for each permit that must be yielded or was lost.
        """
        if self._semaphore is None:
            return {}
        grips = list(self._held.values())
        sent = self._tools.clock()
        if self._again:
            self._withdraw_again(sent)
        own = self._options
        renewed: Renewed = await self._semaphore.renew(
            self.worker, [grip.told(sent) for grip in grips], watch, own.lease, own.heartbeat
        )
        for grip, keep in zip(grips, renewed.permits, strict=True):
            grip.named = grip.named or keep is Keep.KEPT
            if keep is Keep.KEPT or grip.permit.id not in self._held:
                continue
            if keep is Keep.LOST:
                del self._held[grip.permit.id]
                self._over(grip.permit.id, grip.permit.key)
                grip.lost = True
            else:
                grip.yielding = True
            told(grip, keep)
        spell = self._term.spell
        self._term.acknowledged(sent)
        if self._term.spell != spell:
            self._lose_unnamed(grips, told)
        took = self._tools.clock() - sent
        self._renewed_at, self._took = sent, min(took, self._options.patience)
        return renewed.versions

    def _lose_unnamed(self, named: Sequence[Grip], told: Callable[[Grip, Keep], None]) -> None:
        """A renewal has begun a new spell: what came while it was under way was granted before."""
        known = set(named)
        for grip in [one for one in self._held.values() if one not in known]:
            grip.lost = True
            self.release(grip)  # if it was granted after all, it serves others
            told(grip, Keep.LOST)

    async def run(self, released: Callable[[Sequence[Permit]], None]) -> None:
        """Give permits back until cancelled; ``released`` hears of each batch."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._returning:
                await self._return(released)

    async def flush(self) -> None:
        """Give back all that no task uses, at the end; one try.

        What a task uses even then is left to expire: its code may run on.
        """
        for id, grip in list(self._held.items()):
            if grip.job is None:
                del self._held[id]
                self._returning.append(grip.permit)
        if self._returning and self._semaphore is not None:
            await self._semaphore.release(self._returning)
            self._returning.clear()

    async def _return(self, released: Callable[[Sequence[Permit]], None]) -> None:
        if self._semaphore is None:
            self._returning.clear()
            return
        batch = self._returning[:500]
        try:
            await self._semaphore.release(batch)
        except (Unavailable, Unknown) as error:
            if not error.answered:
                await self._backoff.wait()
                return
        except Exception as error:
            if not isinstance(error, BrokerError):
                logger.exception("releasing permits failed in an unexpected way")
        else:
            self._backoff.reset()
            del self._returning[: len(batch)]
            released(batch)
            return
        for permit in batch:  # to repeat the call will not help: the others go back
            try:
                await self._semaphore.release([permit])
            except Exception as error:  # noqa: BLE001 - whatever it is, it is tried again later
                if isinstance(error, Unavailable | Unknown) and not error.answered:
                    await self._backoff.wait()
                    return
                text = "permit %s of %r cannot be given back: %s"
                logger.error(text, permit.id, permit.key, error)
                self._again.append((self._tools.clock() + AGAIN[-1], permit))
            else:
                released([permit])
            self._returning.remove(permit)
