"""Calls to a backend through a proxy: their replies get lost, or nobody answers at all."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeVar

import anyio

from xqueue_core.abc import Faces, Notifier, Semaphore, TaskQueue, TaskView
from xqueue_core.calls import Ability, BeatReply, Hold, Put, Settled
from xqueue_core.conformance.check import Broken, holds
from xqueue_core.conformance.proxy import Proxy
from xqueue_core.errors import Unavailable, Unknown
from xqueue_core.task import Task
from xqueue_core.views import TaskInfo

if TYPE_CHECKING:
    from xqueue_core.conformance.bench import Bench

T = TypeVar("T")

#: Seconds, beside what a call may wait, by which it has ended whatever the broker does (G10).
DEADLINE = 10.0
#: Seconds after the first answer that the broker could give, by which it gives one (G11).
HEALS = 3.0
#: Replies of one call that get lost, one after the other.
REPLIES = 25
#: How many of the last ones get lost once more: a call that also looks for what is due, say, asks
#: more often than the next one, so that the reply that matters may be passed over in both.
LAST = 6
#: Seconds between two attempts.
AGAIN = 0.02

Look = Callable[[], Awaitable[bool]]


class Wire:
    """The backend, opened through a proxy.

    Attributes:
        proxy: what stands in between.
        faces: what was opened.
    """

    def __init__(self, bench: Bench, proxy: Proxy, faces: Faces) -> None:
        self.bench = bench
        self.proxy = proxy
        self.faces = faces

    @classmethod
    @asynccontextmanager
    async def open(cls, bench: Bench) -> AsyncIterator[Wire]:
        """Open the backend of this case once more, through a proxy."""
        harness = bench.harness
        async with (
            harness.proxy() as proxy,
            harness.open_through(proxy, bench.namespace, bench.case.settings) as faces,
        ):
            yield cls(bench, proxy, faces)

    @property
    def queue(self) -> TaskQueue:
        """Its queue."""
        return self.faces.queue

    @property
    def view(self) -> TaskView:
        """Its view."""
        return self.faces.needed("view")  # type: ignore[no-any-return]

    @property
    def semaphore(self) -> Semaphore:
        """Its semaphore."""
        return self.faces.needed("semaphore")  # type: ignore[no-any-return]

    @property
    def notifier(self) -> Notifier:
        """Its notifier."""
        return self.faces.needed("notifier")  # type: ignore[no-any-return]

    def losses(self) -> Iterator[Loss]:
        """One turn for each reply that a call waits for: the first, the second and so on gets lost.

        It ends with a turn in which nothing was left to lose, or after 25. The last ones are then
        lost once more: not every call asks as often as the one before. Fails if the call waited
        for no reply at all.
        """
        for skip in range(REPLIES):
            loss = Loss(self, skip)
            yield loss
            if not loss.happened:
                holds(skip, "the call waits for a reply that comes through the proxy")
                break
        yield from (Loss(self, skip - n) for n in range(1, 1 + min(skip, LAST)))

    async def answered(self, call: Callable[[], Awaitable[T]]) -> T:
        """Repeat a call until it is answered; fail after the time in which everything heals."""
        return await answered(self.bench, call, HEALS)


class Loss:
    """A reply that gets lost once.

    Attributes:
        happened: True once it did.
    """

    def __init__(self, wire: Wire, skip: int) -> None:
        self.happened = False
        self._wire = wire
        self._skip = skip

    async def of(self, call: Callable[[], Awaitable[T]], done: Look | None = None) -> T:
        """Make the call, and repeat it until it is answered, if the lost reply made it fail.

        It may fail as ``Unknown``; as ``Unavailable`` only if nothing has happened, which
        ``done`` looks at.
        """
        async with self._wire.proxy.drop_reply(skip=self._skip) as drop:
            try:
                return await in_time(self._wire.bench, call)
            except Unavailable as error:
                if done is not None and await done():
                    raise Broken(f"{error!r}, which says that nothing happened; it did") from error
            except Unknown:
                pass
            except Broken:
                raise
            except Exception as error:
                raise Broken(f"a lost reply is Unknown or Unavailable, not {error!r}") from error
            finally:
                self.happened = drop.happened
        holds(drop.happened, "a call fails only if its reply got lost")
        return await self._wire.answered(call)


async def answered(bench: Bench, call: Callable[[], Awaitable[T]], within: float) -> T:
    """Repeat a call, as the core does, until it is answered; fail after ``within`` seconds."""
    patience = bench.pace.wait(within * bench.scale)
    while True:
        try:
            answer = await in_time(bench, call)
        except (Unavailable, Unknown) as error:
            if patience.left() <= 0:
                raise Broken(f"repeated for {within:g} s in vain: {error!r}") from error
        else:
            holds(patience.left() > 0, f"it is answered within {within:g} s")
            return answer
        await anyio.sleep(AGAIN)


async def in_time(bench: Bench, call: Callable[[], Awaitable[T]], wait: float = 0.0) -> T:
    """Make a call; fail if it does not end by itself within its deadline and ``wait`` seconds.

    An answer that says of something that it is not known raises Unknown.
    """
    patience = bench.pace.wait((DEADLINE + wait) * bench.scale)
    with anyio.move_on_after(patience.left()):
        return _known(await call())
    raise Broken(f"a call did not end within {DEADLINE + wait:g} s")


def _known(answer: T) -> T:
    items = answer.held if isinstance(answer, BeatReply) else answer
    for one in items if isinstance(items, list | tuple) else ():
        if one in (Settled.UNKNOWN, Hold.UNKNOWN) or getattr(one, "put", "") is Put.UNKNOWN:
            raise Unknown(f"the answer says so: {answer}")
    return answer


async def fails(
    bench: Bench, name: str, call: Callable[[], Awaitable[object]], *, answers: bool
) -> None:
    """A call that cannot reach the broker ends in time, by an error that says so.

    Where it ``answers`` all the same, from what it knows already, that will do.
    """
    try:
        got = await in_time(bench, call, wait=1.0)
    except (Unavailable, Unknown):
        return
    except Broken as error:
        raise Broken(f"{name}: {error}") from error
    except Exception as error:
        raise Broken(f"{name} raised {error!r}, which is not Unavailable or Unknown") from error
    holds(answers, f"{name} is not answered while nobody can be reached: {got}")


def any_is(
    bench: Bench, tasks: list[Task], as_looked_for: Callable[[TaskInfo | None], bool]
) -> Look | None:
    """A look whether one of these tasks is such; None without a view to look at."""
    if Ability.VIEW not in bench.harness.capabilities.abilities:
        return None

    async def look() -> bool:
        found = await bench.view.find([task.id for task in tasks])
        return any(map(as_looked_for, found))

    return look
