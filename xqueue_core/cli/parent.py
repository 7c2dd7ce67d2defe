"""How a worker process learns that its supervisor is gone.

The supervisor holds the other end of the worker's standard input, which the system closes when
it ends, however it ends.
"""

from __future__ import annotations

import logging
import os
import threading
from typing import TYPE_CHECKING

from xqueue_core.cli.signals import leave

if TYPE_CHECKING:
    from xqueue_core.worker import Worker

logger = logging.getLogger("xqueue.worker")

#: Seconds beyond the grace time after which an orphan ends whatever happens.
ORPHAN = 20.0


class Parent(threading.Thread):
    """Ends this process with its supervisor: at once, or once it has a worker, by draining."""

    def __init__(self) -> None:
        super().__init__(name="xqueue-parent", daemon=True)
        self._lock = threading.Lock()
        self._worker: Worker | None = None

    def entrust(self, worker: Worker) -> None:
        """From now on there is something to drain."""
        with self._lock:
            self._worker = worker

    def run(self) -> None:
        """Wait for the end of the standard input."""
        while os.read(0, 4096):
            pass
        logger.warning("the supervisor is gone: stopping")
        with self._lock:
            worker = self._worker
            if worker is None:
                leave(1)
                return
        worker.drain()
        if not worker.ended.wait(worker.options.grace + ORPHAN):
            os._exit(1)
