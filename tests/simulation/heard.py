"""What heartbeats have told a worker, and what it must not do any more from then on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xqueue_core.calls import BeatReply

if TYPE_CHECKING:
    from simulation.process import Process
    from simulation.world import World

#: A word needs so long at most from the engine to the handlers (seconds): see ``Plan.lag``.
CROSSES = 0.35
#: How soon a worker that was in no trouble fetches again (seconds), and ends when ordered to.
FETCHES, ENDS = 1.0, 10.0


class Heard:
    """The word of one worker's latest heartbeat, as it reached the worker."""

    def __init__(self, world: World, process: Process) -> None:
        self._world = world
        self._process = process
        self._paused: dict[str, float] = {}  # lanes, and since when the worker knows
        self._quiet: float | None = None  # since when it is to be quiet
        self._lifted: float | None = None  # when it was no longer
        self._ordered: float | None = None  # when it was ordered to end, and nothing else told it
        self.fetched = 0.0  # when it last asked for tasks

    @property
    def quiet(self) -> bool:
        """True while it is to be quiet, as far as it knows."""
        return self._quiet is not None

    def hear(self, reply: BeatReply) -> None:
        """A heartbeat is answered."""
        now = self._world.loop.now
        self._paused = {lane: self._paused.get(lane, now) for lane in reply.paused}
        if reply.quiet:
            self._quiet = now if self._quiet is None else self._quiet
        elif self._quiet is not None:
            self._quiet, self._lifted = None, now
        if reply.stop and not self._process.stopping:
            self._process.stopping = True
            self._ordered = now

    def starts(self, id: str, lane: str) -> None:
        """A handler begins: none of a paused lane, or of a quiet worker, once it knows.

        But for what a thread held up: it goes on with what it was at.
        """
        since = self._paused.get(lane)
        if since is not None:
            self._late(since, f"{id} started on {self._process.name}", f"lane {lane} is paused")

        if self._quiet is not None:
            self._late(self._quiet, f"{id} started on {self._process.name}", "be quiet")

    def ended(self, how: str) -> list[str]:
        """The worker has ended: as ordered, if it was."""
        if self._ordered is None:
            return []
        late = self._world.loop.now - self._ordered > ENDS and self._calm()
        if how in ("ordered", "recycle", "cancelled") and not late:
            return []
        return [f"orders: {self._process.name}, ordered to end at {self._ordered}, ended: {how}"]

    def obeyed(self) -> list[str]:
        """What a worker that lives has left undone, when all is at rest."""
        process, now = self._process, self._world.loop.now
        if process.dead or not self._calm():
            return []
        if self._ordered is not None and now - self._ordered > ENDS:
            return [f"orders: {process.name} was ordered to end at {self._ordered}"]
        lifted = None if process.stopping else self._lifted
        if lifted is not None and now - lifted > FETCHES and self.fetched < lifted:
            return [f"orders: {process.name} does not fetch again since {lifted}"]
        return []

    def _calm(self) -> bool:
        return not self._process.net.troubled(ENDS)

    def _late(self, since: float, what: str, word: str) -> None:
        now = self._world.loop.now
        asleep = any(now - at < CROSSES for at in self._process.woken)
        if now - since > CROSSES and not asleep:
            self._world.wrong.append(f"orders: {what} {now - since:.3f} s after it knew: {word}")
