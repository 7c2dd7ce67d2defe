"""The worker engine: leases tasks, runs their handlers, settles how they ended.

Several small objects, each with one duty: :mod:`~.fetcher` asks for work, :mod:`~.limiter` and
:mod:`~.keys` take permits, :mod:`~.executor` runs handlers on their own loop behind the
:mod:`~.crossing`, :mod:`~.settler` records outcomes, :mod:`~.keeper` keeps the lease.
:mod:`~.engine` joins them, :mod:`~.duties` is their life from start to drain, and
:mod:`~.worker` is the shell of threads around it.
"""

from xqueue_core.worker.duties import Exit
from xqueue_core.worker.worker import Worker

__all__ = ["Exit", "Worker"]
