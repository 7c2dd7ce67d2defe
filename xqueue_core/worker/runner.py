"""How the executor sees what runs handlers: one runner for each kind of handler."""

from __future__ import annotations

from typing import Protocol

from xqueue_core.worker.job import Job


class Runner(Protocol):
    """Runs the bodies of jobs of one kind: coroutines, threads, or child processes.

    All methods are called on the handlers' loop, never block and never raise. Each job that was
    started is reported exactly once, on the handlers' loop, with its outcome (None: there is
    nothing to settle), and only after its code has truly ended: until then its slot and its
    permits stay taken. The executor decides what may begin, sets ``job.started`` then, and watches
    the deadline: of coroutines when they ask, at their first step; of others before it starts them.
    """

    @property
    def free(self) -> int:
        """How many more jobs may be started now."""

    def start(self, job: Job) -> None:
        """Run it. The caller has seen that ``free`` is above zero."""

    def tell(self, job: Job) -> None:
        """``job.told`` has changed: have a running job end, as far as its kind allows."""

    def close(self) -> None:
        """The worker has ended: let go of threads and processes; end what can be ended."""
